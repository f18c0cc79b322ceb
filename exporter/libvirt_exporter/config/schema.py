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
            description="Connection URI of the host, opened read-only. Empty: no host, only "
            "`targets`.",
            examples=["qemu+tls://host/system", "lxc:///system", "xen:///system"],
            extra={"several": "write one URI; further hosts go under targets"},
        ),
    ] = "qemu:///system"
    name: Annotated[
        str, Meta(description="Name of the host in logs and on the page. Empty: no name.")
    ] = ""
    timeout: Annotated[
        Duration,
        Meta(
            ge=0.1,
            le=600,
            description="Timeout of a scrape if the scraper sends none. Prometheus sends its "
            "scrape timeout in a header.",
        ),
    ] = 9.0
    parallel_calls: Annotated[
        int,
        Meta(
            ge=1,
            le=16,
            description="Maximum number of concurrent statistics calls; each has its own "
            "connection. With 6 or 8 a sample took 3 % less time on a host with 2 CPUs.",
        ),
    ] = 4
    stuck_calls: Annotated[
        int,
        Meta(
            ge=1,
            le=100,
            description="Maximum number of calls stuck in libvirt. At the limit, only data "
            "that cannot block is queried. By default libvirtd has 20 workers; 20 stuck calls "
            "block it.",
        ),
    ] = 12


class Target(Section, frozen=True, kw_only=True):
    """One of several hosts that this exporter serves. All other options come from the other
    sections."""

    uri: Annotated[
        str,
        Meta(
            description="Connection URI of the target, opened read-only. It must be unique among "
            "the targets.",
            examples=["qemu+tls://node7.example.com/system", "qemu+ssh://monitor@node8/system"],
        ),
    ]
    timeout: Annotated[
        Duration, Meta(ge=0, le=600, description="As `libvirt.timeout`. 0: use that value.")
    ] = 0.0
    parallel_calls: Annotated[
        int, Meta(ge=0, le=16, description="As `libvirt.parallel_calls`. 0: use that value.")
    ] = 0
    stuck_calls: Annotated[
        int, Meta(ge=0, le=100, description="As `libvirt.stuck_calls`. 0: use that value.")
    ] = 0
    guest_agent: Annotated[
        bool,
        Meta(
            description="Apply `guest_agent.enabled` to this target. false: open no read-write "
            "connection to it."
        ),
    ] = True
    pki_directory: Annotated[
        str,
        Meta(
            description="Directory of the TLS files `cacert.pem`, and `clientcert.pem` and "
            "`clientkey.pem` if the host requires a client certificate. Empty: libvirt's default "
            "directories.",
            examples=["/etc/libvirt-exporter/pki"],
        ),
    ] = ""
    key_file: Annotated[
        str,
        Meta(
            description="Private key for the transports ssh, libssh and libssh2. Empty: their "
            "default.",
            examples=["/etc/libvirt-exporter/id_ed25519"],
        ),
    ] = ""
    known_hosts: Annotated[
        str,
        Meta(
            description="File with known host keys, for the transports libssh and libssh2. For "
            "ssh, set `UserKnownHostsFile` in ssh_config. Empty: their default.",
            examples=["/etc/libvirt-exporter/known_hosts"],
        ),
    ] = ""
    credentials_file: Annotated[
        str,
        Meta(
            description="File with user and password for SASL, in the format of libvirt's "
            "`auth.conf`. Empty: libvirt's default files.",
            examples=["/etc/libvirt-exporter/auth.conf"],
        ),
    ] = ""
    labels: Annotated[
        Mapping[str, str],
        Meta(
            description="Labels of the target in service discovery (`/api/v1/targets`); "
            "Prometheus adds them to all its series.",
            examples=[{"rack": "r7"}],
        ),
    ] = {}


class Groups(Section, frozen=True, kw_only=True):
    """Field groups to collect. libvirt is not queried for groups that are not selected."""

    include: Annotated[
        tuple[str, ...],
        Meta(
            description="Groups to collect, by name. `default`: all groups that are on by "
            "default. `all`: every group. `libvirt-exporter metrics` lists the groups. A list "
            "replaces `default`; write `[default, dirtyrate]` to add a group. Aliases: `cpu` "
            "means `cpu-total` and `vcpu`, `disk` means `block`, `mem` means `balloon`, `net` "
            "means `interface`."
        ),
    ] = ("default",)
    exclude: Annotated[
        tuple[str, ...],
        Meta(
            description="Groups to exclude; wins over `include`. Excluding `block` also excludes "
            "`block-limits`, `block-backing` and `block-timed`, and excluding `vcpu` also "
            "excludes `kvm`, because libvirt returns them together."
        ),
    ] = ()


class Fields(Section, frozen=True, kw_only=True):
    """Metrics, stats keys (`*` for any part) or fields of the API, as in `docs/metrics.md`."""

    include: Annotated[
        tuple[str, ...],
        Meta(
            description="Fields to show in addition to those on by default, from any group that "
            "`groups.exclude` does not name.",
            examples=[["libvirt_domain_block_*_total", "block.*.fl.*", "memUsage"]],
        ),
    ] = ()
    exclude: Annotated[
        tuple[str, ...], Meta(description="Fields to hide; wins over `include`.")
    ] = ()


class Domains(Section, frozen=True, kw_only=True):
    """VMs to show, by patterns on name, UUID, state, metadata or custom labels."""

    include: Annotated[
        tuple[str, ...],
        Meta(
            description="Patterns of the VMs to show. Empty: all. A pattern is a regular "
            "expression (RE2, as in Prometheus) that must match the whole name, or starts with "
            "`uuid:`, `state:`, `metadata:` or `label:`.",
            examples=[
                ["web-[0-9]+", "uuid:4dea22b3-1d52-d8f3-2516-782e98ab3fa0"],
                ["metadata:openstack.project=prod-.*", "label:tenant=acme"],
            ],
            extra={"item": "pattern"},
        ),
    ] = ()
    exclude: Annotated[
        tuple[str, ...],
        Meta(
            description="Patterns of VMs to hide; wins over `include`.",
            examples=[["state:shutoff"]],
            extra={"item": "pattern"},
        ),
    ] = ()


class CustomLabel(Section, frozen=True, kw_only=True):
    """One label whose value comes from the domain XML, by `xpath` or by a key of `metadata`."""

    name: Annotated[str, Meta(description="Name of the label.")]
    xpath: Annotated[
        str,
        Meta(
            description="XPath of the value, relative to `<domain>` or absolute. It may end in "
            "`/@attribute` or `/text()`."
        ),
    ] = ""
    metadata: Annotated[
        str,
        Meta(
            description="Key of `metadata:` patterns, such as `openstack.project_id`, instead of "
            "`xpath`. The value does not depend on the version of the metadata."
        ),
    ] = ""
    namespaces: Annotated[
        Mapping[str, str],
        Meta(description="Prefix → namespace URI, for each prefix in the expression."),
    ] = {}


class Labels(Section, frozen=True, kw_only=True):
    """The labels of domain series."""

    identity: Annotated[
        tuple[str, ...],
        Meta(
            description="Labels of every domain series: `domain` (name), `uuid`, and names of "
            "custom labels. At least one of `domain` and `uuid` is required.",
            examples=[["domain", "uuid", "tenant"]],
        ),
    ] = ("domain", "uuid")
    custom: Annotated[
        tuple[CustomLabel, ...],
        Meta(
            description="Labels from the domain XML, shown on the metric `libvirt_domain_labels`.",
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
    """Counters of libvirt's events."""

    state_directory: Annotated[
        str,
        Meta(
            description="Directory that keeps event counts and times across restarts. Empty: "
            "they are lost at a restart. The systemd unit creates /var/lib/libvirt-exporter.",
            examples=["/var/lib/libvirt-exporter"],
        ),
    ] = ""
    all_counters: Annotated[
        bool,
        Meta(
            description="Start every event counter with known label values at 0. false: only "
            "watchdog, I/O errors, panics, crashes and the guest agent start at 0; other "
            "counters (block jobs, for example) start with their first event. true adds about 90 "
            "series per VM."
        ),
    ] = False


class GuestAgent(Section, frozen=True, kw_only=True):
    """Queries of QEMU guest agents. docs/guest-agent.md describes the required rights and how to
    restrict them."""

    enabled: Annotated[
        bool,
        Meta(
            description="Query guest agents. Requires a read-write connection to libvirt, which "
            "has full control of the host's VMs. The exporter opens no read-write connection "
            "otherwise."
        ),
    ] = False
    response_timeout: Annotated[
        Duration,
        Meta(
            ge=1,
            le=60,
            description="Timeout of an agent's answer, in whole seconds. libvirt keeps this "
            "timeout until the guest shuts down, for other programs too.",
        ),
    ] = 2.0
    parallel_calls: Annotated[
        int,
        Meta(
            ge=1,
            le=8,
            description="Maximum number of agents queried concurrently; each has its own "
            "connection. Stuck calls count towards `libvirt.stuck_calls`.",
        ),
    ] = 2
    interval: Annotated[
        Duration,
        Meta(
            ge=5,
            le=86400,
            description="Minimum interval between two queries of frequently changing data: file "
            "systems, load, CPUs, users. An answer expires after three intervals.",
        ),
    ] = 60.0
    slow_interval: Annotated[
        Duration,
        Meta(
            ge=5,
            le=86400,
            description="Minimum interval between two queries of rarely changing data: operating "
            "system, host name, interfaces.",
        ),
    ] = 600.0
    entries: Annotated[
        int,
        Meta(
            ge=1,
            le=1000,
            description="Maximum number of file systems to show per guest; likewise for "
            "interfaces, addresses and users. Further entries are dropped and counted.",
        ),
    ] = 64
    exclude_filesystems: Annotated[
        tuple[str, ...],
        Meta(
            description="Regular expressions (RE2) of file system types to hide; each must match "
            "the whole type. The agent itself omits most pseudo file systems."
        ),
    ] = ("squashfs|iso9660|udf|CDFS|UDF|erofs|cramfs|overlay|tmpfs|devtmpfs|ramfs|autofs",)
    exclude_mountpoints: Annotated[
        tuple[str, ...],
        Meta(
            description="Regular expressions (RE2) of mount points to hide; each must match the "
            "whole mount point."
        ),
    ] = ("/(run|snap|var/snap)/.*", "/var/lib/(docker|containers|containerd|kubelet)/.*")


class Applications(Section, frozen=True, kw_only=True):
    """Lists of the applications installed in the guests. Requires `guest_agent.enabled`. The API
    returns the lists if `api.sensitive_fields` includes `appsList`."""

    enabled: Annotated[
        bool,
        Meta(
            description="Collect lists of applications. The exporter runs small programs such as "
            "`stat` and `dpkg-query` in the guests through their agents."
        ),
    ] = False
    state_directory: Annotated[
        str,
        Meta(
            description="Directory that keeps the lists across restarts, one file per VM.",
        ),
    ] = "/var/lib/libvirt-exporter"
    interval: Annotated[
        Duration,
        Meta(
            ge=5,
            le=86400,
            description="Minimum interval between two checks for changed applications. The list "
            "is read only after a change.",
        ),
    ] = 120.0
    quiet: Annotated[
        Duration,
        Meta(
            ge=0,
            le=3600,
            description="Time without further changes before the list is read.",
        ),
    ] = 60.0
    longest_wait: Annotated[
        Duration,
        Meta(
            ge=0,
            le=86400,
            description="Maximum time after a change before the list is read, even if changes "
            "continue.",
        ),
    ] = 600.0


class Limits(Section, frozen=True, kw_only=True):
    """Limits on the size of an exposition."""

    series: Annotated[
        int,
        Meta(
            ge=0,
            description="Maximum number of domain series in one exposition. Above it, whole "
            "metrics are dropped group by group, the least important group first, and counted in "
            "`libvirt_scrape_series_dropped`. Metrics of the groups state, monitor and job are "
            "never dropped. 0: no limit.",
        ),
    ] = 0
    label_value_length: Annotated[
        int,
        Meta(
            ge=32,
            le=65536,
            description="Maximum length of a label value in bytes of UTF-8. A longer value is "
            "cut, and ends in a hash.",
        ),
    ] = 256


class Scrape(Section, frozen=True, kw_only=True):
    """Sampling of libvirt."""

    timeout_offset: Annotated[
        Duration,
        Meta(
            ge=0,
            le=60,
            description="Time subtracted from the scraper's timeout, to send the answer in time.",
        ),
    ] = 0.5
    info_refresh: Annotated[
        Duration,
        Meta(
            ge=1,
            le=86400,
            description="Maximum time until a domain's XML is read again if neither an event nor "
            "the statistics show a change.",
        ),
    ] = 60.0


class Api(Section, frozen=True, kw_only=True):
    """Fields of VMs as JSON, at `/api/v1/vms`."""

    max_age: Annotated[
        Duration,
        Meta(
            ge=1,
            le=600,
            description="Maximum age of a sample that answers a query. While a client waits for "
            "a change, samples are taken at this interval.",
        ),
    ] = 5.0
    tombstones: Annotated[
        Duration,
        Meta(
            ge=60,
            le=86400,
            description="Time that the API remembers a VM after it disappeared. A client that "
            "was away for longer gets a full answer.",
        ),
    ] = 900.0
    longest_wait: Annotated[
        Duration,
        Meta(ge=0, le=600, description="Maximum time that a client may wait for a change."),
    ] = 60.0
    sensitive_fields: Annotated[
        tuple[str, ...],
        Meta(
            description="Sensitive fields to show, by name. A field is sensitive if it contains "
            "a person's name, an address, a serial number, a path or free text. `docs/api.md` "
            "marks these fields.",
            examples=[["guestIPs", "username"]],
        ),
    ] = ()


class Web(Section, frozen=True, kw_only=True):
    """The HTTP server."""

    listen: Annotated[
        tuple[str, ...],
        Meta(
            min_length=1,
            description="Addresses to listen on. `:9177`: all addresses of the host, IPv4 and "
            "IPv6. `unix:/path`: a Unix socket. A change requires a restart.",
            examples=[
                ["127.0.0.1:9177", "[::1]:9177"],
                ["unix:/run/libvirt-exporter/web.sock"],
            ],
            extra={"item": "address"},
        ),
    ] = (":9177",)
    socket_mode: Annotated[
        str,
        Meta(
            pattern="^0?[0-7]{3}$",
            description="Permissions of Unix sockets. Users with write permission may connect. A "
            "change requires a restart.",
            extra={"words": "text of octal digits such as '0660'"},
        ),
    ] = "0660"
    systemd_socket: Annotated[
        bool,
        Meta(
            description="Listen on the sockets of a systemd `.socket` unit instead of `listen`. "
            "A change requires a restart."
        ),
    ] = False
    telemetry_path: Annotated[
        str, Meta(description="Path of the metrics. A change requires a restart.")
    ] = "/metrics"
    config_file: Annotated[
        str,
        Meta(
            description="Web configuration file with TLS and users, in the format of "
            "exporter-toolkit. Empty: none. A relative path is relative to the configuration "
            "file's directory; on the command line, to the working directory. Changing the path, "
            "or switching TLS on or off, requires a restart; other changes to the file are "
            "picked up.",
            examples=["web-config.yml"],
        ),
    ] = ""
    max_requests: Annotated[
        int,
        Meta(
            ge=1,
            le=10000,
            description="Maximum number of concurrent requests of each of these kinds: scrapes "
            "with `collect[]`, `exclude[]` or `domain[]` (equal ones count once), API queries, "
            "and API queries that wait for a change. Further requests get 503. Scrapes without "
            "parameters share one sample and are never rejected. With `targets`, one host gets "
            "at most half of the requests. A change requires a restart.",
        ),
    ] = 40
    health_without_login: Annotated[
        bool,
        Meta(
            description="Answer GET and HEAD requests of `/-/healthy` and `/-/ready`, and no "
            "other path, without a password even if `config_file` has users. A change requires a "
            "restart.",
        ),
    ] = False
    access_log: Annotated[
        bool,
        Meta(
            description="Log every request with its client's address, at level info. A change "
            "requires a restart.",
        ),
    ] = False
    reload: Annotated[
        bool,
        Meta(
            description="Let `POST /-/reload` reload the configuration. SIGHUP always does. A "
            "change requires a restart.",
        ),
    ] = True
    allowed_hosts: Annotated[
        tuple[str, ...],
        Meta(
            description="Names and addresses accepted in the Host header of requests, without "
            "port. Other requests get 421. Empty: any. A change requires a restart.",
            examples=[["node7.example.com", "127.0.0.1", "[::1]"]],
        ),
    ] = ()


class Log(Section, frozen=True, kw_only=True):
    """Log lines on stderr."""

    level: Annotated[
        Literal["debug", "info", "warn", "error"],
        Meta(
            description="Lowest level to log. Capital letters and `warning` are accepted too.",
            extra={"aliases": {"warning": "warn"}},
        ),
    ] = "info"
    format: Annotated[Literal["logfmt", "json"], Meta(description="Format of log lines.")] = (
        "logfmt"
    )


class Config(Section, frozen=True, kw_only=True):
    """The configuration of the exporter."""

    libvirt: Libvirt = Libvirt()
    targets: Annotated[
        Mapping[str, Target],
        Meta(
            description="Further hosts, by alias. Prometheus scrapes each at "
            "`/probe?target=ALIAS`; the API requires `target=ALIAS`. docs/scaling.md shows the "
            "scrape configuration.",
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
