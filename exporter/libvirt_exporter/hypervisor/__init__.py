"""One libvirt with everything that belongs to it; the only importer of libvirt."""
