"""From where on figures are coloured, and why: the bounds are those of the alerts."""

from __future__ import annotations

from typing import Final

from dashboards.grafana import Bands
from deploy.prometheus.build import settings

_SETTINGS: Final = settings()


def _percent(name: str) -> float:
    return float(_SETTINGS[name]) / 100


def _alert(name: str) -> str:
    return f"the alert {name} looks at the same bound."


STEAL: Final = Bands(
    [(_percent("steal_percent") / 2, "yellow"), (_percent("steal_percent"), "red")],
    f"guests feel it from there on; {_alert('LibvirtDomainStealHigh')}",
    shown="{:.0%}",
)
MEMORY_USED: Final = Bands(
    [(_percent("memory_used_percent"), "red")],
    f"the guest will swap or end programs; {_alert('LibvirtDomainMemoryPressure')}",
    shown="{:.0%}",
)
LATENCY: Final = Bands(
    [(float(_SETTINGS["disk_latency_milliseconds"]) / 1000, "red")],
    _alert("LibvirtDomainDiskLatencyHigh"),
    shown="{:g} s",
)
MEMORY_PROMISED: Final = Bands(
    [(_percent("host_memory_promised_percent"), "red")],
    f"VMs may ask for more than there is; {_alert('LibvirtHostMemoryPromised')}",
    shown="{:.0%}",
)
MEMORY_AVAILABLE: Final = Bands(
    [(_percent("host_memory_available_percent"), "green")],
    _alert("LibvirtHostMemoryLow"),
    below="red",
    shown="{:.0%}",
)
POOL_USE: Final = Bands(
    [
        (1 - _percent("pool_warning_percent"), "yellow"),
        (1 - _percent("pool_critical_percent"), "red"),
    ],
    f"VMs with thin disks are paused when it is full; {_alert('LibvirtStoragePoolFillingUp')}",
    shown="{:.0%}",
)
THIN_DISK: Final = Bands(
    [(_percent("thin_disk_percent"), "red")],
    f"the VM is paused when it is full; {_alert('LibvirtDomainThinDiskNearFull')}",
    shown="{:.0%}",
)
CHAIN: Final = Bands(
    [(float(_SETTINGS["backing_images"]), "yellow")], _alert("LibvirtDomainBackingChainDeep")
)
SNAPSHOT_AGE: Final = Bands(
    [(float(_SETTINGS["snapshot_days"]) * 86400, "yellow")],
    f"{_SETTINGS['snapshot_days']} days; {_alert('LibvirtDomainSnapshotOld')}",
    shown="{:g} s",
)
STUCK_CALLS: Final = Bands(
    [(_percent("stuck_calls_percent"), "red")], _alert("LibvirtExporterStuckCalls"), shown="{:.0%}"
)
SCRAPE: Final = Bands(
    [(0.8 * float(_SETTINGS["scrape_timeout"]), "red")],
    f"80 % of the scrape's timeout; {_alert('LibvirtScrapeSlow')}",
    shown="{:g} s",
)
ANY_IS_BAD: Final = Bands([(1, "red")], "there should be none.")

FILE_SYSTEM: Final = Bands(
    [
        (_percent("guest_filesystem_filling_percent"), "yellow"),
        (_percent("guest_filesystem_full_percent"), "red"),
    ],
    _alert("LibvirtDomainGuestFilesystemFull"),
    shown="{:.0%}",
)
