"""The lab's fixtures."""

from tests.lab.fixtures import fresh_libvirtd

__all__ = ["fresh_libvirtd"]
