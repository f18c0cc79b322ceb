"""What takes minutes: images, roles, whole root file systems. Each module has its make target."""
