"""PromQL that the dashboards have in common. Figures with colons in their names are recorded.

A panel never draws more than `$top` series of hosts, VMs or devices: `top` chooses those that are
highest over the whole time range, so that lines neither come and go nor add up to more.
"""

from __future__ import annotations

from typing import Final

from libvirt_exporter.model import STATES

HOST: Final = 'job=~"$job",instance=~"$instance"'
"""Matchers of the chosen hosts."""
VM: Final = f'{HOST},uuid=~"$uuid"'
"""Matchers of the chosen VM, on whichever of the chosen hosts it is."""

BY_HOST: Final = "job, instance"
BY_VM: Final = "job, instance, domain, uuid"
BY_DEVICE: Final = f"{BY_VM}, device"
BY_POOL: Final = "job, instance, pool"
BY_PROJECT: Final = "job, project_id, project_name"

NAMES: Final = f"domain:libvirt_display_name:info{{{HOST}}}"
PROJECTS: Final = f"domain:libvirt_project:info{{{HOST}}}"


def select(metric: str, *matchers: str, scope: str = HOST) -> str:
    """The series of a metric within the scope."""
    return f"{metric}{{{','.join((scope, *matchers))}}}"


def rate(selector: str) -> str:
    """The rate per second of a counter, over the interval that Grafana finds right."""
    return f"rate({selector}[$__rate_interval])"


def named(expression: str) -> str:
    """With the label `display_name`, for what has the labels of a VM."""
    return f"({expression}) * on ({BY_VM}) group_left (display_name) {NAMES}"


def top(selector: str, by: str = BY_VM) -> str:
    """The `$top` series of a gauge whose mean over the time range is highest."""
    return f"{selector} and on ({by}) topk($top, avg_over_time({selector}[$__range] @ end()))"


def top_rates(selector: str, by: str = BY_DEVICE) -> str:
    """The rates of the `$top` counters that grow most in the time range."""
    return f"{rate(selector)} and on ({by}) topk($top, increase({selector}[$__range] @ end()))"


def top_now(expression: str) -> str:
    """The `$top` highest at the end of the time range, for what is shown of that moment only."""
    return f"topk($top, {expression})"


def of(chosen: str, expression: str, by: str = BY_VM) -> str:
    """Of an expression what belongs to the chosen series, for a column of a table.

    Without its name: Grafana would show that as a label, and join no lines by it.
    """
    return f"max by ({by}) ({expression}) and on ({by}) {chosen}"


def seen(selector: str, by: str) -> str:
    """Series of 1 that come and go: the `$top` of them that were there most of the time range."""
    return f"{selector} and on ({by}) topk($top, count_over_time({selector}[$__range] @ end()))"


def state_number(scope: str) -> str:
    """The number of each VM's state, as a state timeline needs one series a VM."""
    numbered = " or ".join(
        f"{number} * " + select("libvirt_domain_state", f'state="{state}"', scope=scope)
        for number, state in enumerate(STATES)
    )
    return f"sum by ({BY_VM}) ({numbered})"


def pool_use() -> str:
    """How full the `$top` fullest storage pools are, of 1.

    By their file systems where those are seen, else by libvirt's word. Pools whose volumes are the
    whole of them by nature are left out.
    """
    return f"{_pool_use()} and on ({BY_POOL}) topk($top, {_pool_use(' @ end()')})"


def _pool_use(at: str = "") -> str:
    def share(available: str, size: str) -> str:
        return (
            f"{select(f'libvirt_storage_pool_{available}_bytes')}{at}"
            f" / ({select(f'libvirt_storage_pool_{size}_bytes')}{at} > 0)"
        )

    whole = select(
        "libvirt_storage_pool_info",
        'pool_type=~"logical|disk|iscsi|iscsi-direct|scsi|mpath"',
    )
    free = f"{share('filesystem_available', 'filesystem_size')} or {share('available', 'capacity')}"
    return f"(1 - ({free}) unless on ({BY_POOL}) {whole}{at})"
