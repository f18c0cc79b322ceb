#!/usr/bin/python3
"""The command of packages that bring some of the libraries in a directory of their own."""

import sys

sys.path.insert(0, "/usr/lib/libvirt-exporter")

from libvirt_exporter.__main__ import main

sys.exit(main())
