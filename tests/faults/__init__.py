"""What happens when things go wrong: on a real libvirtd with real QEMU, and on a scripted one."""
