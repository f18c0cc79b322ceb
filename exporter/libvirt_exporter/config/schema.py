"""Every option, its type, its meaning and its default. Nothing else holds a default.

Durations are seconds here; a file may spell them `9s`, `500ms`, `1m30s`, or as a plain number.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

DURATION_PATTERN: Final = (
    r"^(?=[0-9])([0-9]+d)?([0-9]+h)?([0-9]+m(?!s))?([0-9]+(\.[0-9]+)?s)?([0-9]+ms)?$"
)

Duration = Annotated[
    float, Meta(extra={"duration": True}, extra_json_schema={"pattern": DURATION_PATTERN})
]


class Section(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What all parts of the configuration have in common."""


class Libvirt(Section, frozen=True, kw_only=True):
    """The connection to libvirt."""

    uri: Annotated[
        str,
        Meta(
            description="Connection URI. It is opened read-only. Empty: there is no such host, "
            "only `targets`.",
            examples=["qemu+tls://host/system", "lxc:///system", "xen:///system"],
        ),
    ] = "qemu:///system"
    name: Annotated[
        str, Meta(description="Name of the host in logs and on the page; empty: none.")
    ] = ""
    timeout: Annotated[
        Duration,
        Meta(
            ge=0.1,
            le=600,
            description="Time for one scrape when the scraper names none. Prometheus does, by a "
            "header.",
        ),
    ] = 9.0
    parallel_calls: Annotated[
        int,
        Meta(
            ge=1,
            le=16,
            description="Statistics calls in flight at once, each on a connection of its own. On "
            "the hosts that were measured, more than 4 made no sample faster.",
        ),
    ] = 4
    stuck_calls: Annotated[
        int,
        Meta(
            ge=1,
            le=100,
            description="Calls that may be stuck in libvirt before only groups that cannot block "
            "are asked. By default a libvirtd has 20 workers, and 20 stuck calls freeze it.",
        ),
    ] = 12


class Target(Section, frozen=True, kw_only=True):
    """One of several hosts that this exporter serves; for what is not said here the other sections
    hold."""

    uri: Annotated[
        str,
        Meta(
            description="Connection URI. It is opened read-only, and no other target has the same.",
            examples=["qemu+tls://node7.example.com/system", "qemu+ssh://monitor@node8/system"],
        ),
    ]
    timeout: Annotated[
        Duration, Meta(ge=0, le=600, description="As in `libvirt`; 0: the value there.")
    ] = 0.0
    parallel_calls: Annotated[
        int, Meta(ge=0, le=16, description="As in `libvirt`; 0: the value there.")
    ] = 0
    stuck_calls: Annotated[
        int, Meta(ge=0, le=100, description="As in `libvirt`; 0: the value there.")
    ] = 0
    guest_agent: Annotated[
        bool,
        Meta(
            description="Whether `guest_agent.enabled` holds for this host; if not, no read-write "
            "connection to it is opened."
        ),
    ] = True
    pki_directory: Annotated[
        str,
        Meta(
            description="Directory of the files for TLS: `cacert.pem`, and `clientcert.pem` and "
            "`clientkey.pem` where the host asks for them; empty: libvirt's own places.",
            examples=["/etc/libvirt-exporter/pki"],
        ),
    ] = ""
    key_file: Annotated[
        str,
        Meta(
            description="Private key for ssh, libssh and libssh2; empty: what those use.",
            examples=["/etc/libvirt-exporter/id_ed25519"],
        ),
    ] = ""
    known_hosts: Annotated[
        str,
        Meta(
            description="File with keys of hosts, for libssh and libssh2; ssh has "
            "`UserKnownHostsFile` in its own configuration. Empty: what those use.",
            examples=["/etc/libvirt-exporter/known_hosts"],
        ),
    ] = ""
    credentials_file: Annotated[
        str,
        Meta(
            description="File with user and password where the host asks for them (SASL), in "
            "libvirt's format of `auth.conf`; empty: libvirt's own places.",
            examples=["/etc/libvirt-exporter/auth.conf"],
        ),
    ] = ""
    labels: Annotated[
        Mapping[str, str],
        Meta(
            description="Labels that service discovery (`/api/v1/targets`) gives all series of "
            "this target.",
            examples=[{"rack": "r7"}],
        ),
    ] = {}


class Groups(Section, frozen=True, kw_only=True):
    """Field groups to ask for. A group that is not selected is not asked of libvirt at all."""

    include: Annotated[
        tuple[str, ...],
        Meta(
            description="Groups by name; `default` stands for those that are on by default, `all` "
            "for every one. `libvirt-exporter metrics` lists them. Naming groups replaces "
            "`default`; `[default, dirtyrate]` adds one. Aliases: `cpu` stands for `cpu-total` "
            "and `vcpu`, `disk` for `block`, `mem` for `balloon`, `net` for `interface`."
        ),
    ] = ("default",)
    exclude: Annotated[
        tuple[str, ...],
        Meta(
            description="Groups to leave out of the included ones. `block` leaves out "
            "`block-limits`, `block-backing` and `block-timed` too, and `vcpu` leaves out `kvm`: "
            "libvirt tells them with it only."
        ),
    ] = ()


class Fields(Section, frozen=True, kw_only=True):
    """Metrics, stats keys (`*` for any part) or fields of the API, as in `docs/metrics.md`."""

    include: Annotated[
        tuple[str, ...],
        Meta(
            description="Fields to show besides those on by default, whatever their group, unless "
            "`groups.exclude` names the group.",
            examples=[["libvirt_domain_block_*_total", "block.*.fl.*", "memUsage"]],
        ),
    ] = ()
    exclude: Annotated[
        tuple[str, ...], Meta(description="Fields to leave out; wins over `include`.")
    ] = ()


class Domains(Section, frozen=True, kw_only=True):
    """The VMs to show, by patterns on name, UUID, state, metadata or custom labels."""

    include: Annotated[
        tuple[str, ...],
        Meta(
            description="Patterns of the only VMs to show; empty: all. A pattern is a regular "
            "expression of RE2, as in Prometheus, that matches the whole name, or begins with "
            "`uuid:`, `state:`, `metadata:` or `label:`.",
            examples=[
                ["web-[0-9]+", "uuid:4dea22b3-1d52-d8f3-2516-782e98ab3fa0"],
                ["metadata:openstack.project=prod-.*", "label:tenant=acme"],
            ],
        ),
    ] = ()
    exclude: Annotated[
        tuple[str, ...],
        Meta(
            description="Patterns of VMs to leave out; wins over `include`.",
            examples=[["state:shutoff"]],
        ),
    ] = ()


class CustomLabel(Section, frozen=True, kw_only=True):
    """One label whose value is read from the domain XML: an `xpath`, or a fact of `metadata`."""

    name: Annotated[str, Meta(description="Name of the label.")]
    xpath: Annotated[
        str,
        Meta(
            description="Where the value is, relative to `<domain>` or absolute; may end in "
            "`/@attribute` or `/text()`."
        ),
    ] = ""
    metadata: Annotated[
        str,
        Meta(
            description="Instead of `xpath`: a key of `metadata:` patterns, such as "
            "`openstack.project_id`. It has the same value for every version of the metadata."
        ),
    ] = ""
    namespaces: Annotated[
        Mapping[str, str],
        Meta(description="Namespace URI by the prefix that the expression uses for it."),
    ] = {}


class Labels(Section, frozen=True, kw_only=True):
    """The labels of domain series."""

    identity: Annotated[
        tuple[str, ...],
        Meta(
            description="Labels of every domain series: `domain` (the name), `uuid` (at least one "
            "of the two), and names of custom labels.",
            examples=[["domain", "uuid", "tenant"]],
        ),
    ] = ("domain", "uuid")
    custom: Annotated[
        tuple[CustomLabel, ...],
        Meta(
            description="Labels from the domain XML, shown on `libvirt_domain_labels`.",
            examples=[
                [
                    {
                        "name": "tenant",
                        "xpath": "metadata/acme:vm/@tenant",
                        "namespaces": {"acme": "urn:acme"},
                    }
                ]
            ],
        ),
    ] = ()


class Events(Section, frozen=True, kw_only=True):
    """What is counted of libvirt's events."""

    state_directory: Annotated[
        str,
        Meta(
            description="Directory in which the counts and times of events outlive a restart; "
            "empty: they do not. The systemd unit makes /var/lib/libvirt-exporter for this.",
            examples=["/var/lib/libvirt-exporter"],
        ),
    ] = ""
    all_counters: Annotated[
        bool,
        Meta(
            description="Start every counter whose labels are known beforehand at 0, not only "
            "those that alerts build on (watchdog, I/O errors, panics, crashes, the guest agent): "
            "some 90 series more for each VM."
        ),
    ] = False


class GuestAgent(Section, frozen=True, kw_only=True):
    """Questions to the QEMU guest agents. docs/guest-agent.md says what they take and how to
    narrow it."""

    enabled: Annotated[
        bool,
        Meta(
            description="Ask guest agents. That needs a read-write connection to libvirt, which "
            "can do everything that libvirt can; the exporter opens none otherwise."
        ),
    ] = False
    response_timeout: Annotated[
        Duration,
        Meta(
            ge=1,
            le=60,
            description="Time that an agent has for one answer, in whole seconds. libvirt keeps it "
            "for the rest of the guest's run, and for other programs too.",
        ),
    ] = 2.0
    parallel_calls: Annotated[
        int,
        Meta(
            ge=1,
            le=8,
            description="Agents that are asked at once, each on a connection of its own; they "
            "count in `libvirt.stuck_calls`.",
        ),
    ] = 2
    interval: Annotated[
        Duration,
        Meta(
            ge=5,
            le=86400,
            description="Least time between two questions for what moves: file systems, load, "
            "CPUs, users. An answer is shown for three intervals.",
        ),
    ] = 60.0
    slow_interval: Annotated[
        Duration,
        Meta(
            ge=5,
            le=86400,
            description="The same for what seldom changes: operating system, host name, "
            "interfaces.",
        ),
    ] = 600.0
    entries: Annotated[
        int,
        Meta(
            ge=1,
            le=1000,
            description="File systems of one guest to show; likewise interfaces, addresses and "
            "users. What is over it is left out and counted.",
        ),
    ] = 64
    exclude_filesystems: Annotated[
        tuple[str, ...],
        Meta(
            description="Regular expressions (RE2) that match the whole type of file systems to "
            "leave out. The agent leaves out most pseudo file systems by itself."
        ),
    ] = ("squashfs|iso9660|udf|CDFS|UDF|erofs|cramfs|overlay|tmpfs|devtmpfs|ramfs|autofs",)
    exclude_mountpoints: Annotated[
        tuple[str, ...],
        Meta(
            description="Regular expressions (RE2) that match the whole mount point of file "
            "systems to leave out."
        ),
    ] = ("/(run|snap|var/snap)/.*", "/var/lib/(docker|containers|containerd|kubelet)/.*")


class Applications(Section, frozen=True, kw_only=True):
    """Lists of what is installed in the guests. They take `guest_agent.enabled`; their names are
    shown where `api.sensitive_fields` has `appsList`."""

    enabled: Annotated[
        bool,
        Meta(
            description="Keep lists of applications. The exporter runs small programs in the "
            "guests for that, such as `stat` and `dpkg-query`, through their agents."
        ),
    ] = False
    state_directory: Annotated[
        str,
        Meta(
            description="Directory in which the lists lie, one file for each VM, and outlive a "
            "restart.",
        ),
    ] = "/var/lib/libvirt-exporter"
    interval: Annotated[
        Duration,
        Meta(
            ge=5,
            le=86400,
            description="Least time between two looks at whether a guest's applications changed. "
            "The list itself is read only when they did.",
        ),
    ] = 120.0
    quiet: Annotated[
        Duration,
        Meta(
            ge=0,
            le=3600,
            description="Time for which nothing more must have changed until the list is read.",
        ),
    ] = 60.0
    longest_wait: Annotated[
        Duration,
        Meta(
            ge=0,
            le=86400,
            description="Time after a change at which the list is read although others follow.",
        ),
    ] = 600.0


class Limits(Section, frozen=True, kw_only=True):
    """What bounds the size of an exposition."""

    series: Annotated[
        int,
        Meta(
            ge=0,
            description="Series of domains in one exposition; over it whole metrics are left out, "
            "the least important first, state never, and counted. 0: no limit.",
        ),
    ] = 0
    label_value_length: Annotated[
        int,
        Meta(
            ge=32,
            le=65536,
            description="Bytes of UTF-8 in a label value; a longer one is cut and ends in a hash.",
        ),
    ] = 256


class Scrape(Section, frozen=True, kw_only=True):
    """How a sample is taken."""

    timeout_offset: Annotated[
        Duration,
        Meta(
            ge=0,
            le=60,
            description="Time kept back from the timeout that the scraper names, for the way back.",
        ),
    ] = 0.5
    info_refresh: Annotated[
        Duration,
        Meta(
            ge=1,
            le=86400,
            description="Longest time until a domain's XML is read again when neither an event nor "
            "the statistics say that it changed.",
        ),
    ] = 60.0


class Api(Section, frozen=True, kw_only=True):
    """Fields of VMs as JSON, at `/api/v1/vms`."""

    max_age: Annotated[
        Duration,
        Meta(
            ge=1,
            le=600,
            description="Age up to which a sample is used again, whichever client it was for; "
            "while a client waits for a change, one is taken as often.",
        ),
    ] = 5.0
    tombstones: Annotated[
        Duration,
        Meta(
            ge=60,
            le=86400,
            description="How long a VM that is gone is remembered. A client that was away for "
            "longer gets everything again.",
        ),
    ] = 900.0
    longest_wait: Annotated[
        Duration,
        Meta(ge=0, le=600, description="Longest time that a client may wait for a change."),
    ] = 60.0
    sensitive_fields: Annotated[
        tuple[str, ...],
        Meta(
            description="Sensitive fields to show all the same, by name: what names a person, an "
            "address, a serial number or a path, or is free text. `docs/api.md` marks them.",
            examples=[["guestIPs", "username"]],
        ),
    ] = ()


class Web(Section, frozen=True, kw_only=True):
    """The HTTP server."""

    listen: Annotated[
        tuple[str, ...],
        Meta(
            min_length=1,
            description="Addresses to listen on; `:9177` is every address of the host, IPv4 and "
            "IPv6, `unix:` and a path a Unix socket. A change needs a restart.",
            examples=[
                ["127.0.0.1:9177", "[::1]:9177"],
                ["unix:/run/libvirt-exporter/web.sock"],
            ],
            extra={"number": ":{}"},
        ),
    ] = (":9177",)
    socket_mode: Annotated[
        str,
        Meta(
            pattern="^0?[0-7]{3}$",
            description="Permissions of Unix sockets, in octal digits; who may write may connect. "
            "A change needs a restart.",
        ),
    ] = "0660"
    systemd_socket: Annotated[
        bool,
        Meta(
            description="Listen on the sockets that systemd hands over (a `.socket` unit) instead "
            "of on `listen`. A change needs a restart."
        ),
    ] = False
    telemetry_path: Annotated[
        str, Meta(description="Path of the metrics. A change needs a restart.")
    ] = "/metrics"
    config_file: Annotated[
        str,
        Meta(
            description="File with TLS and users in the format of exporter-toolkit; empty: none. "
            "Relative to the directory of the configuration file, on the command line to the "
            "working directory. Another file needs a restart, and so does TLS on or off; any "
            "other change in the file does not.",
            examples=["web-config.yml"],
        ),
    ] = ""
    max_requests: Annotated[
        int,
        Meta(
            ge=1,
            le=10000,
            description="Scrapes of different parts (`collect[]`, `exclude[]`, `domain[]`) served "
            "at once, and queries; one more is answered with 503. Scrapes of everything share the "
            "work and are never refused. A change needs a restart.",
        ),
    ] = 40
    health_without_login: Annotated[
        bool,
        Meta(
            description="Answer GET and HEAD of `/-/healthy` and `/-/ready`, and nothing else, "
            "without a password where `config_file` has users. A change needs a restart.",
        ),
    ] = False
    access_log: Annotated[
        bool,
        Meta(
            description="Log every request with the address of its client, at level info. A change "
            "needs a restart.",
        ),
    ] = False
    reload: Annotated[
        bool,
        Meta(
            description="Whether `POST /-/reload` reloads the configuration; SIGHUP always does. "
            "A change needs a restart.",
        ),
    ] = True
    allowed_hosts: Annotated[
        tuple[str, ...],
        Meta(
            description="Names and addresses by which clients may call the exporter, as the Host "
            "header has them, without port; others get 421. Empty: any. A change needs a restart.",
            examples=[["node7.example.com", "127.0.0.1", "[::1]"]],
        ),
    ] = ()


class Log(Section, frozen=True, kw_only=True):
    """What is written to stderr."""

    level: Annotated[
        Literal["debug", "info", "warn", "error"],
        Meta(
            description="Lowest level to write; capitals and `warning` are accepted too.",
            extra={"aliases": {"warning": "warn"}},
        ),
    ] = "info"
    format: Annotated[Literal["logfmt", "json"], Meta(description="Form of a line.")] = "logfmt"


class Config(Section, frozen=True, kw_only=True):
    """The configuration of the exporter."""

    libvirt: Libvirt = Libvirt()
    targets: Annotated[
        Mapping[str, Target],
        Meta(
            description="Further hosts that this exporter serves, by alias: at "
            "`/probe?target=ALIAS`, and in the API with `target=ALIAS`. docs/scaling.md shows "
            "how Prometheus scrapes them.",
            examples=[{"node7": {"uri": "qemu+tls://node7.example.com/system"}}],
        ),
    ] = {}
    groups: Groups = Groups()
    fields: Fields = Fields()
    domains: Domains = Domains()
    labels: Labels = Labels()
    events: Events = Events()
    guest_agent: GuestAgent = GuestAgent()
    applications: Applications = Applications()
    limits: Limits = Limits()
    scrape: Scrape = Scrape()
    api: Api = Api()
    web: Web = Web()
    log: Log = Log()


FLAGS: Final[Mapping[str, str]] = {
    "libvirt.uri": "--libvirt.uri",
    "web.listen": "--web.listen-address",
    "web.systemd_socket": "--web.systemd-socket",
    "web.telemetry_path": "--web.telemetry-path",
    "web.config_file": "--web.config.file",
    "web.max_requests": "--web.max-requests",
    "scrape.timeout_offset": "--scrape.timeout-offset",
    "log.level": "--log.level",
    "log.format": "--log.format",
}
"""Option → the command line flag that overrides it."""
