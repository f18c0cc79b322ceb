"""The dashboard of what fills up and what is under way: pools, disks, snapshots, jobs."""

from __future__ import annotations

from dashboards import bounds, parts, shared_panels
from dashboards.grafana import Json, column, dashboard, graph, instant, row, state_timeline, table
from dashboards.queries import BY_POOL, BY_VM, HOST, named, pool_use, seen, select, top, top_now


def storage_and_jobs() -> Json:
    """Storage and jobs of all chosen hosts."""
    return dashboard(
        "libvirt-storage",
        "libvirt / Storage and jobs",
        "Storage pools, thin disks, snapshots, and the jobs of VMs: migrations, backups, block "
        "jobs. Data from libvirt-exporter and its recording rules, which Prometheus must have "
        "loaded.",
        variables=parts.variables(),
        annotations=parts.event_marks(),
        panels=[
            *row("Pools", *pool_panels()),
            *row("Disks", *disk_panels()),
            *row("Snapshots and chains", *snapshot_panels()),
            *row("Jobs", *shared_panels.job_panels(HOST, **JOB_LEGENDS, width=8), last_jobs()),
        ],
    )


JOB_LEGENDS = {
    "legend": "{{display_name}}: {{operation}}",
    "device": "{{display_name}} {{device}}: {{job_type}}",
}


def pool_panels() -> list[Json]:
    """How full pools are, and whether they can be used."""
    state = select("libvirt_storage_pool_state", 'state!="running"')
    labels = f"{BY_POOL}, state"
    capacity = select("libvirt_storage_pool_capacity_bytes")
    chosen = top_now(capacity)
    return [
        graph(
            "Storage pools in use",
            {"{{pool}} on {{instance}}": pool_use()},
            unit="percentunit",
            description="The file system of a pool if the exporter sees it, else libvirt's figures "
            "of its last refresh. Pools whose volumes always fill them (LVM, iSCSI ...) are left "
            "out. The `$top` fullest.",
            links=parts.HOST_LINE_LINKS,
            bands=bounds.POOL_USE,
            width=12,
        ),
        state_timeline(
            "Pools that are not running",
            {
                "{{pool}} on {{instance}}: {{state}}": f"({state} == 1) and on ({labels})"
                f" topk($top, max_over_time({state}[$__range] @ end()) == 1)"
            },
            mappings={"1": ("yes", "orange")},
            description="A bar for each pool and state while it lasts. Empty is good.",
            links=parts.HOST_LINE_LINKS,
        ),
        table(
            "Pools",
            instant(f"max by ({BY_POOL}) ({chosen})", ref="pool"),
            [
                column("Capacity", "bytes", f"max by ({BY_POOL}) ({chosen})"),
                *(
                    column(
                        name,
                        "bytes",
                        f"max by ({BY_POOL}) ({select(f'libvirt_storage_pool_{metric}_bytes')}"
                        f" and on ({BY_POOL}) {chosen})",
                        description=description,
                    )
                    for name, metric, description in (
                        ("Allocated", "allocation", "Used space at libvirt's last refresh."),
                        ("Left", "available", "At libvirt's last refresh, which may be long ago."),
                        (
                            "Left in the file system",
                            "filesystem_available",
                            "Now, if the exporter sees the directory.",
                        ),
                    )
                ),
            ],
            labels={"pool": "Pool", "instance": "Instance"},
            hidden=["job"],
            overrides=parts.identity_columns()[1:2],
            sort_by="Capacity",
            description="The `$top` largest.",
            height=8,
        ),
    ]


def disk_panels() -> list[Json]:
    """Disks that can fill up what is under them, and disks with errors."""
    errors = select("libvirt_domain_disk_error")
    by_error = f"{BY_VM}, device, error"
    return [
        shared_panels.disk_table(
            "Thin disks",
            shared_panels.thin_disks(),
            scope=HOST,
            labels={
                "display_name": "VM",
                "device": "Disk",
                "instance": "Instance",
                "uuid": "UUID",
            },
            hidden=["job", "domain"],
            overrides=parts.identity_columns(),
            description="Disks whose file or volume is smaller than what the guest may write. The "
            "`$top` fullest at the end of the time range.",
        ),
        state_timeline(
            "Disks whose error has paused a VM",
            {"{{display_name}} {{device}}: {{error}}": named(seen(errors, by_error))},
            mappings={"1": ("yes", "red")},
            description="A bar for each disk and error while the VM is paused. Empty is good.",
            links=parts.LINE_LINKS,
            width=24,
        ),
    ]


def snapshot_panels() -> list[Json]:
    """What makes disks slow and large over time."""
    oldest = select("libvirt_domain_oldest_snapshot_timestamp_seconds")
    chain = select("libvirt_domain_block_backing_chain_depth")
    by_device = f"{BY_VM}, device"
    return [
        graph(
            "Age of the oldest snapshot",
            {
                "{{display_name}}": named(
                    f"(time() - {oldest}) and on ({BY_VM}) bottomk($top, {oldest} @ end())"
                )
            },
            unit="s",
            description="Of the `$top` VMs with the oldest snapshots.",
            links=parts.LINE_LINKS,
            bands=bounds.SNAPSHOT_AGE,
            width=12,
        ),
        graph(
            "Images in a disk's backing chain",
            {"{{display_name}} {{device}}": named(top(chain, by_device))},
            unit="none",
            description="Each image slows reads of blocks that are not in the images above it. "
            "The `$top` deepest.",
            links=parts.LINE_LINKS,
            bands=bounds.CHAIN,
            width=12,
        ),
    ]


def last_jobs() -> Json:
    """How jobs ended."""
    by = f"{BY_VM}, operation"
    ended = select("libvirt_domain_last_job_completed_timestamp_seconds")
    chosen = top_now(f"max by ({by}) ({ended})")

    def figure(metric: str) -> str:
        found = f"max by ({by}) ({select(f'libvirt_domain_last_job_{metric}')})"
        return named(f"{found} and on ({by}) {chosen}")

    return table(
        "Last jobs",
        instant(named(chosen), ref="job"),
        [
            column("Ended", "dateTimeAsIso", f"({figure('completed_timestamp_seconds')}) * 1000"),
            column("Success", "bool_yes_no", figure("success")),
            column("Took", "s", figure("elapsed_seconds")),
            column(
                "Downtime",
                "s",
                figure("downtime_seconds"),
                description="How long the guest was paused when the job ended.",
            ),
            column("Data", "bytes", figure("data_bytes")),
        ],
        labels={
            "display_name": "VM",
            "operation": "Job",
            "instance": "Instance",
            "uuid": "UUID",
        },
        hidden=["job", "domain"],
        overrides=parts.identity_columns(),
        sort_by="Ended",
        description="The `$top` jobs that ended last, one of each operation of a VM.",
    )
