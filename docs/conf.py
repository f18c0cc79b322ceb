"""The documentation as a site: `make site`. The source is the checkout, so that all links hold."""

from typing import Final

from libvirt_exporter import __version__

project: Final = "libvirt-exporter"
version = release = __version__
root_doc: Final = "docs/index"
include_patterns: Final = ["*.md", "docs/**.md"]
extensions: Final = ["myst_parser"]
# Headings are linked to as on GitHub, where these files are read too.
myst_heading_anchors: Final = 4
html_theme: Final = "furo"
html_title: Final = f"{project} {release}"
# Pygments knows no mermaid, and in PromQL not the colons of recording rules; myst knows no links to
# directories (tests/project/test_site.py follows all links).
suppress_warnings: Final = ["misc.highlighting_failure", "myst.xref_missing"]
