"""`python -m libvirt_exporter` is the command `libvirt-exporter`."""

import sys

from libvirt_exporter.cli import main

if __name__ == "__main__":
    sys.exit(main())
