"""A real libvirtd with real QEMU guests, apart from whatever runs on this host."""
