"""An invented host, for the demo: what stands here answers where libvirt would."""
