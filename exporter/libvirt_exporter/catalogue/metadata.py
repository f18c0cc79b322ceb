"""What management software wrote into the domain's metadata, and labels that operators choose."""

from libvirt_exporter.catalogue.metric import Fact, Group, Metric

GROUPS: tuple[Group, ...] = (
    Group(
        name="metadata",
        text="Identity from the metadata of OpenStack, oVirt or libosinfo, and custom labels.",
        left_out=12,
    ),
)

NOVA = "domain XML, metadata/instance of Nova"
OVIRT = "domain XML, metadata/vm of oVirt"


def _number(name: str, source: str, text: str, value: str) -> Fact:
    return Fact(name=name, text=text, group="metadata", source=source, value=value)


METRICS: tuple[Metric, ...] = (
    Fact(
        name="libvirt_domain_openstack_info",
        text="Always 1; the OpenStack instance of the domain.",
        group="metadata",
        source=NOVA,
        each="openstack",
        labels={
            "instance_name": "instance_name",
            "flavor": "flavor",
            "flavor_id": "flavor_id",
            "image_id": "image_id",
            "project_id": "project_id",
            "project_name": "project_name",
            "root_type": "root_type",
        },
    ),
    Fact(
        name="libvirt_domain_openstack_user_info",
        text="Always 1; the OpenStack user who owns the instance.",
        group="metadata",
        source=NOVA,
        each="openstack",
        labels={"user_id": "user_id", "user_name": "user_name"},
        default=False,
    ),
    _number(
        "libvirt_domain_openstack_creation_timestamp_seconds",
        f"{NOVA}, creationTime",
        "Unix time at which Nova created the instance on this host.",
        "openstack.creation_time",
    ),
    Fact(
        name="libvirt_domain_ovirt_info",
        text="Always 1; oVirt's settings of the domain.",
        group="metadata",
        source=OVIRT,
        each="ovirt",
        labels={
            "cluster_version": "cluster_version",
            "cpu_policy": "cpu_policy",
            "resume_behavior": "resume_behavior",
        },
    ),
    _number(
        "libvirt_domain_ovirt_guaranteed_memory_bytes",
        f"{OVIRT}, minGuaranteedMemoryMb",
        "Memory guaranteed to the domain by oVirt.",
        "ovirt.guaranteed_memory",
    ),
    _number(
        "libvirt_domain_ovirt_balloon_target_bytes",
        f"{OVIRT}, balloonTarget",
        "Balloon size that oVirt requested.",
        "ovirt.balloon_target",
    ),
    _number(
        "libvirt_domain_ovirt_vcpu_limit_ratio",
        "domain XML, metadata/qos of oVirt, vcpuLimit",
        "CPU limit that oVirt sets, as a fraction of the host's CPUs; 1 is all of them.",
        "ovirt.vcpu_limit",
    ),
    _number(
        "libvirt_domain_ovirt_start_timestamp_seconds",
        f"{OVIRT}, startTime",
        "Unix time at which oVirt started the domain.",
        "ovirt.start_time",
    ),
    Fact(
        name="libvirt_domain_os_info",
        text="Always 1; the guest's operating system as libosinfo names it.",
        group="metadata",
        source="domain XML, metadata/libosinfo/os@id",
        labels={"os_id": "os_id"},
    ),
    Fact(
        name="libvirt_domain_malformed_metadata_values",
        text="Invalid metadata values that were ignored: wrong type, namespace or form, too "
        "many, too long or nested too deep. Absent if all values are valid.",
        group="metadata",
        source="domain XML, metadata",
        value="malformed_metadata",
    ),
    Fact(
        name="libvirt_domain_labels",
        text="Always 1; custom labels from the domain XML.",
        group="metadata",
        source="configuration, labels.custom",
        operator_labels=True,
    ),
)
