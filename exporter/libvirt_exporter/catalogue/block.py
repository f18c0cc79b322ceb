"""`block.*`: disks: requests, latencies, sizes, limits, backing chain.

A disk is named by its target (`vda`), never by its index, which moves with hot-plug. The images
below the top one of a backing chain have metrics of their own.
"""

from libvirt_exporter.catalogue.metric import (
    A_COUNT,
    NEW_QEMU,
    Group,
    Histogram,
    Metric,
    Scale,
    Stat,
    StatInfo,
    Withheld,
)

GROUPS: tuple[Group, ...] = (
    Group(name="block", text="Disk requests, latencies and sizes.", asks=("block",), left_out=16),
    Group(
        name="block-limits",
        text="Request limits and alignments of opened images; constant.",
        default=False,
        asks=("block",),
        left_out=3,
    ),
    Group(
        name="block-backing",
        text="Images below the top image of a backing chain.",
        default=False,
        asks=("block",),
        backing=True,
        left_out=5,
    ),
    Group(
        name="block-timed",
        text="Latencies over the time windows configured in a disk's XML.",
        default=False,
        asks=("block",),
        left_out=4,
    ),
)

DISK = {"device": "block.<num>.name"}
LAYER = {**DISK, "backing_index": "block.<num>.backingIndex"}
LOWER = "For an image below the disk's top image."
HISTOGRAM_RESETS = f"{NEW_QEMU}; also when the histogram's configuration is applied again"


def _counter(what: str, key: str, text: str) -> Stat:
    return Stat(
        name=f"libvirt_domain_block_{what}_total",
        text=text,
        group="block",
        source=f"block.<num>.{key}",
        labels=DISK,
        scale=Scale.NANOSECONDS if what.endswith("_seconds") else Scale.ONE,
        since="1.2.9",
        resets=NEW_QEMU,
    )


def _lower_counter(what: str, key: str, text: str) -> Stat:
    return Stat(
        name=f"libvirt_domain_block_backing_{what}_total",
        text=f"{text} {LOWER}",
        group="block-backing",
        source=f"block.<num>.{key}",
        labels=LAYER,
        scale=Scale.NANOSECONDS if what.endswith("_seconds") else Scale.ONE,
        lower=True,
        since="1.2.12",
        resets=NEW_QEMU,
    )


def _gauge(
    what: str,
    key: str,
    text: str,
    *,
    group: str = "block",
    lower: bool = False,
    since: str = "1.2.9",
) -> Stat:
    thing = "block_backing" if lower else "block"
    return Stat(
        name=f"libvirt_domain_{thing}_{what}",
        text=f"{text} {LOWER}" if lower else text,
        group=group,
        source=f"block.<num>.{key}",
        labels=LAYER if lower else DISK,
        lower=lower,
        since=since,
    )


def _limit(what: str, key: str, text: str) -> list[Metric]:
    key, since = f"limits.{key}", "11.10.0"
    text = f"{text} Constant while the image is open."
    return [
        _gauge(f"limit_{what}", key, text, group="block-limits", since=since),
        _gauge(f"limit_{what}", key, text, group="block-backing", lower=True, since=since),
    ]


def _timed(operation: str, thing: str) -> list[Metric]:
    labels = {**DISK, "interval_seconds": "block.<num>.timed_group.<i>.interval"}
    rows: list[Metric] = [
        Stat(
            name=f"libvirt_domain_block_timed_{thing}_latency_{which}_seconds",
            text=f"{word} latency of {thing} requests in the window. Absent without requests.",
            group="block-timed",
            source=f"block.<num>.timed_group.<i>.{operation}_latency_{which}",
            labels=labels,
            scale=Scale.NANOSECONDS,
            zero_is_absent=True,
            since="11.10.0",
            stability="experimental",
        )
        for which, word in (("min", "Lowest"), ("max", "Highest"), ("avg", "Mean"))
    ]
    if operation != "flush":
        rows.append(
            Stat(
                name=f"libvirt_domain_block_timed_{thing}_queue_depth_avg",
                text=f"Mean number of pending {thing} requests in the window.",
                group="block-timed",
                source=f"block.<num>.timed_group.<i>.{operation}_queue_depth_avg",
                labels=labels,
                since="11.10.0",
                stability="experimental",
            )
        )
    return rows


def _histogram(operation: str, thing: str) -> Histogram:
    return Histogram(
        name=f"libvirt_domain_block_{thing}_latency_seconds",
        text=f"Latency of {thing} requests. Absent unless the disk's XML configures a histogram.",
        group="block",
        source=f"block.<num>.latency_histogram.{operation}.bin.<i>.value",
        start=f"block.<num>.latency_histogram.{operation}.bin.<i>.start",
        labels=DISK,
        since="12.1.0",
        stability="experimental",
        resets=HISTOGRAM_RESETS,
    )


_COUNTERS = (
    ("reads_completed", "rd.reqs", "Completed read requests of the guest."),
    ("read_bytes", "rd.bytes", "Bytes read by the guest."),
    (
        "read_time_seconds",
        "rd.times",
        "Time spent in read requests, summed over requests; concurrent requests add up.",
    ),
    ("writes_completed", "wr.reqs", "Completed write requests of the guest."),
    ("written_bytes", "wr.bytes", "Bytes written by the guest."),
    ("write_time_seconds", "wr.times", "Time spent in write requests, summed over requests."),
    ("flushes_completed", "fl.reqs", "Completed flush requests of the guest."),
    ("flush_time_seconds", "fl.times", "Time spent in flush requests, summed over requests."),
)

_SIZES = (
    (
        "allocation_bytes",
        "allocation",
        (
            "Highest offset written since QEMU opened the image, not space used on the host. "
            "Drivers other than QEMU: space used."
        ),
    ),
    ("capacity_bytes", "capacity", "Size of the disk as seen by the guest."),
    (
        "physical_bytes",
        "physical",
        (
            "Space used by the image on the host. Block device or network storage: its size. Raw "
            "image without allocated blocks: its length."
        ),
    ),
)

_THRESHOLD = (
    "write_threshold_bytes",
    "threshold",
    "Offset at which the next BLOCK_THRESHOLD event fires.",
)

METRICS: tuple[Metric, ...] = (
    *(_counter(*row) for row in _COUNTERS),
    Stat(
        name="libvirt_domain_block_errors_total",
        text="Disk errors counted by the hypervisor driver. Xen: times that the request ring was "
        "full. Absent on QEMU.",
        group="block",
        source="block.<num>.errors",
        labels=DISK,
        since="1.2.9",
        resets="when the domain starts",
    ),
    *(_gauge(*row) for row in _SIZES),
    _gauge(*_THRESHOLD, since="3.2.0"),
    *(
        _histogram(*row)
        for row in (
            ("read", "read"),
            ("write", "write"),
            ("zone_append", "zone_append"),
            ("flush", "flush"),
        )
    ),
    StatInfo(
        name="libvirt_domain_block_path_info",
        text="Always 1; the local path of the disk's top image.",
        group="block",
        source="block.<num>.path",
        labels={**DISK, "path": "block.<num>.path"},
        since="1.2.12",
        default=False,
    ),
    *(
        row
        for limit in (
            ("request_alignment_bytes", "request_alignment", "Required alignment of requests."),
            ("discard_max_bytes", "discard_max", "Maximum size of a discard request."),
            (
                "discard_alignment_bytes",
                "discard_alignment",
                "Optimal alignment of discard requests.",
            ),
            (
                "write_zeroes_max_bytes",
                "write_zeroes_max",
                "Maximum size of a write-zeroes request.",
            ),
            (
                "write_zeroes_alignment_bytes",
                "write_zeroes_alignment",
                "Optimal alignment of write-zeroes requests.",
            ),
            ("transfer_optimal_bytes", "transfer_optimal", "Optimal transfer length."),
            ("transfer_max_bytes", "transfer_max", "Maximum transfer length."),
            (
                "transfer_hw_max_bytes",
                "transfer_hw_max",
                "Maximum transfer length of the hardware.",
            ),
            ("iov_max", "iov_max", "Maximum number of scatter/gather elements."),
            (
                "iov_hw_max",
                "iov_hw_max",
                "Maximum number of scatter/gather elements of the hardware.",
            ),
            (
                "memory_alignment_minimal_bytes",
                "memory_alignment_minimal",
                "Minimal memory alignment; less aligned buffers are copied.",
            ),
            (
                "memory_alignment_optimal_bytes",
                "memory_alignment_optimal",
                "Optimal memory alignment.",
            ),
        )
        for row in _limit(*limit)
    ),
    *(_lower_counter(*row) for row in _COUNTERS),
    *(_gauge(*row, group="block-backing", lower=True, since="1.2.12") for row in _SIZES),
    _gauge(*_THRESHOLD, group="block-backing", lower=True, since="3.2.0"),
    StatInfo(
        name="libvirt_domain_block_backing_path_info",
        text="Always 1; the local path of an image below the disk's top image.",
        group="block-backing",
        source="block.<num>.path",
        labels={**LAYER, "path": "block.<num>.path"},
        lower=True,
        since="1.2.12",
        default=False,
    ),
    *(
        row
        for operation in (
            ("rd", "read"),
            ("wr", "write"),
            ("zone_append", "zone_append"),
            ("flush", "flush"),
        )
        for row in _timed(*operation)
    ),
)

WITHHELD: tuple[Withheld, ...] = (
    Withheld("block.count", A_COUNT),
    Withheld("block.<num>.timed_group.count", A_COUNT),
    Withheld("block.<num>.latency_histogram.<operation>.bin.count", A_COUNT),
    Withheld(
        "block.<num>.backingIndex",
        "A name: it is a label of the series of lower images; the top image's changes with "
        "every snapshot.",
    ),
    Withheld(
        "block.<num>.latency_histogram.<operation>.bin.<i>.start",
        "A bound: it is the `le` label of the histogram's buckets.",
    ),
)
