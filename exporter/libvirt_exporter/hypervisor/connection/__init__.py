"""Connections to one libvirt: how calls are made, waited for and given up."""
