"""Prometheus exporter for libvirt."""

__version__ = "0.1.0"
