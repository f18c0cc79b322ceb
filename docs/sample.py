"""The sample output of README.md: what the commands say of the demo host at one moment."""

from __future__ import annotations

from typing import Final

from libvirt_exporter.catalogue import GROUPS
from libvirt_exporter.commands.vms_table import Look, text
from libvirt_exporter.hypervisor.domains.domain_xml import parse_domain
from libvirt_exporter.hypervisor.invented.connection import InventedConnection
from libvirt_exporter.hypervisor.sampling.stats_groups import bits
from libvirt_exporter.model import DomainSample, HostSample
from libvirt_exporter.query.overview import ASKS
from libvirt_exporter.render.selection import Selection
from libvirt_exporter.render.text import TextRenderer, header

BEGIN: Final = "<!-- What the demo host says, written by `make docs`. -->\n"
END: Final = "<!-- End of what it says. -->\n"

_MOMENT: Final = 1_780_000_200.0 + 12 * 3600 + 50
"""Unix time: a day's noon, while a disk is full."""
_SHOWN: Final = ("files", "libvirt_domain_state_reason", "libvirt_domain_block_read_bytes_total")


def readme(written: str) -> str:
    """README.md with the sample between its marks anew. Raises ValueError without the marks."""
    before, begin, rest = written.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError("README.md lacks the marks of docs/sample.py")
    return before + begin + sample() + end + after


def sample() -> str:
    """The table of VMs, and some series of one of them."""
    before, now = _host(_MOMENT - 1), _host(_MOMENT)
    vm, *metrics = _SHOWN
    domains = [domain for domain in now.domains if domain.name == vm]
    renderer = TextRenderer(Selection({group.name for group in GROUPS}))
    families = {
        row.name: (row, lines) for row, lines in renderer.render(domains, {}).families if lines
    }
    exposition = ""
    for name in metrics:
        row, lines = families[name]
        exposition += f"{header(row, openmetrics=False).rstrip()}{lines.decode()}\n…\n"
    table = f"$ ./run vms\n{text(before, now, Look())}"
    scrape = f"$ curl -sg 'localhost:9177/metrics?domain[]={vm}'\n…\n{exposition}"
    return f"```console\n{table}{scrape}```\n"


def _host(at: float) -> HostSample:
    connection = InventedConnection(lambda: at)
    domains = tuple(
        DomainSample(
            uuid=domain.UUIDString(),
            name=domain.name(),
            active=bool(domain.isActive()),
            stats=stats,
            timestamp=at,
            info=parse_domain(domain.XMLDesc()),
        )
        for domain, stats in connection.getAllDomainStats(bits({"state", *ASKS}))
    )
    return HostSample(timestamp=at, duration=0.0, up=True, domains=domains)
