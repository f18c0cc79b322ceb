"""An invented host, for the demo: what stands here answers where libvirt would."""

from typing import Final

SCHEME: Final = "demo:"
"""URIs of the invented host begin with it."""
