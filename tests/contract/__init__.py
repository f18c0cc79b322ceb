"""Recorded hosts, and the expositions that they must keep giving."""
