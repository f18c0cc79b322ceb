"""PromQL that the dashboards have in common. Figures with colons in their names are recorded.

A panel never draws more than `$top` series of hosts, VMs or devices: `top` chooses those that are
highest over the whole time range, so that lines neither come and go nor add up to more.
"""

from __future__ import annotations

from typing import Final

from deploy.prometheus.build import settings
from libvirt_exporter.model import STATES

HOST: Final = 'job=~"$job",instance=~"$instance"'
"""Matchers of the chosen hosts."""
VM: Final = f'{HOST},uuid=~"$uuid",uuid!=""'
"""Matchers of the chosen VM, on whichever of the chosen hosts it is.

Where no VM can be chosen, `$uuid` is empty, and would match every VM without the label.
"""

BY_HOST: Final = "job, instance"
BY_VM: Final = "job, instance, domain, uuid"
"""What tells VMs apart, of which `labels.identity` may leave out `domain` or `uuid` everywhere."""
BY_UUID: Final = "job, instance, uuid"
"""The same for `libvirt_domain_info`, which has `domain` also where no other series has it."""
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


def top(selector: str, by: str = BY_VM, *, among: str = "") -> str:
    """The `$top` series of a gauge whose mean over the time range is highest.

    `among`: of those targets only, for what every target of Prometheus has.
    """
    ranking = f"avg_over_time({selector}[$__range] @ end())"
    return f"{selector} and on ({by}) topk($top, {_among(ranking, among)})"


def top_rates(selector: str, by: str = BY_DEVICE, *, among: str = "") -> str:
    """The rates of the `$top` counters that grow most in the time range; `among` as in `top`."""
    ranking = f"increase({selector}[$__range] @ end())"
    return f"{rate(selector)} and on ({by}) topk($top, {_among(ranking, among)})"


def _among(expression: str, targets: str) -> str:
    return f"{expression} and on ({BY_HOST}) {targets}" if targets else expression


def hosts() -> str:
    """The targets of Prometheus that are hosts: those that had `libvirt_up` in the time range.

    One that was never reached in the time range had nothing. It counts if another target of its
    job is a host, of those not chosen too, or if the rules take its job for that of the exporters.
    """
    known = f"count_over_time({select('libvirt_up')}[$__range] @ end())"
    unreached = f"max_over_time({select('up')}[$__range] @ end()) == 0"
    jobs = (
        f'count_over_time(libvirt_up{{job=~"$job"}}[$__range] @ end())'
        f' or up{{job=~"$job",job="{settings()["job"]}"}} @ end()'
    )
    return f"({known} or on ({BY_HOST}) ({unreached}) and on (job) ({jobs}))"


def hosts_down() -> str:
    """1 for each host that cannot be scraped or whose libvirt does not answer, 0 for the others."""
    answers = f"{select('libvirt_up')} or on ({BY_HOST}) {select('up')}"
    return f"1 - ({answers}) and on ({BY_HOST}) {hosts()}"


def exporters() -> str:
    """The targets of Prometheus that are exporters: also one whose hosts are other targets."""
    return f"count_over_time({select('libvirt_exporter_build_info')}[$__range] @ end())"


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
