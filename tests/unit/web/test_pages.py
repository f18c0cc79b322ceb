"""The pages for people: all VMs, and one of them."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from libvirt_exporter import __version__
from libvirt_exporter.config import Config
from libvirt_exporter.config.schema import Libvirt
from libvirt_exporter.model import (
    Disk,
    DomainInfo,
    DomainSample,
    GroupOutcome,
    HostInfo,
    HostSample,
    Interface,
    OpenStackInfo,
    StatValue,
)
from libvirt_exporter.query.overview import overview
from libvirt_exporter.web.pages import routes
from libvirt_exporter.web.pages.frame import Place
from libvirt_exporter.web.pages.vm_list import PART, View, vm_list
from libvirt_exporter.web.pages.vm_page import vm_page
from tests.support.fake_service import FakeService, client
from tests.support.samples import TYPICAL_INFO, TYPICAL_STATS, UUID, typical

UNKNOWN = "–"


class PageReader(HTMLParser):
    """Collects table rows, links, and the names of all tags and attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.links: dict[str, str] = {}
        """Address by text."""
        self._address = ""
        self._in_cell = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes.update(name for name, _ in attrs)
        if tag == "tr":
            self.rows.append([])
        elif tag in {"td", "th"}:
            self.rows[-1].append("")
            self._in_cell = True
        elif tag == "a":
            self._address = dict(attrs)["href"] or ""

    def handle_endtag(self, tag: str) -> None:
        if tag == "a":
            self._address = ""
        elif tag in {"td", "th"}:
            self._in_cell = False

    def handle_data(self, data: str) -> None:
        if self._address:
            self.links[data] = self._address
        if self._in_cell:
            self.rows[-1][-1] += data

    @property
    def names(self) -> list[str]:
        """What the first cell of each row says."""
        return [row[0] for row in self.rows[1:]]


def get(service: FakeService, path: str) -> httpx.Response:
    async def run() -> httpx.Response:
        async with client(service) as session:
            return await session.get(path)

    return asyncio.run(run())


def domain(name: str, at: float = 10.0, **stats: StatValue) -> DomainSample:
    return DomainSample(
        uuid=f"uuid of {name}",
        name=name,
        active=True,
        stats={key.replace("_", ".", 1): value for key, value in stats.items()},
        timestamp=at,
    )


def host(*domains: DomainSample, up: bool = True, error: str = "") -> HostSample:
    return HostSample(timestamp=1.0, duration=0.25, up=up, domains=domains, error=error)


def serving(*domains: DomainSample, before: tuple[DomainSample, ...] = ()) -> FakeService:
    """A service whose host has these domains now."""
    service = FakeService(host(*domains))
    service.before = host(*before)
    return service


def listed(path: str, *domains: DomainSample, before: tuple[DomainSample, ...] = ()) -> PageReader:
    """The page of all VMs, read."""
    return PageReader(get(serving(*domains, before=before), path).text)


# The page of all VMs.


def test_every_vm_has_a_row_with_its_figures() -> None:
    """State, vCPUs, CPU, memory, disks and network; what libvirt does not say is unknown."""
    busy = {
        "state.state": 1,
        "state.reason": 1,
        "vcpu.current": 2,
        "cpu.time": 10**9,
        "balloon.current": 2**21,
        "balloon.available": 2**21,
        "balloon.usable": 2**20,
        "block.0.name": "vda",
        "block.0.rd.bytes": 0,
        "net.0.name": "vnet0",
        "net.0.tx.bytes": 0,
    }
    more = busy | {"cpu.time": 6 * 10**9, "block.0.rd.bytes": 30 * 2**20, "net.0.tx.bytes": 5120}
    web = structs.replace(domain("web"), stats=more)
    before = structs.replace(domain("web", at=6.0), stats=busy)
    newer = domain("new", state_state=12, state_reason=99)

    page = listed("/", web, newer, before=(before,))

    assert page.rows == [
        ["VM", "State", "vCPUs", "CPU", "Memory", "Disk", "Network", "Problem"],
        ["new", "unknown_12 (unknown_99)", *[UNKNOWN] * 5, ""],
        ["web", "running (booted)", "2", "125%", "1 GiB of 2 GiB", "7.5 MiB/s", "1.25 KiB/s", ""],
    ]
    assert page.links["web"] == "/vms/uuid%20of%20web"
    assert page.links["Metrics"] == "/metrics"


def test_inactive_vm_shows_what_its_xml_says() -> None:
    """Without statistics the configured vCPUs and memory are shown."""
    info = DomainInfo(uuid="u", name="off", vcpus_current=4, memory_current=512 << 20)
    off = structs.replace(domain("off", state_state=5, state_reason=1), active=False, info=info)

    assert listed("/", off).rows[1] == [
        *("off", "shutoff (shutdown)", "4", UNKNOWN, "512 MiB", UNKNOWN, UNKNOWN, ""),
    ]


def test_what_is_wrong_is_said_and_comes_first() -> None:
    """Failed groups, stuck and busy VMs, states that nobody asked for and unreadable XML."""
    stuck = structs.replace(
        domain("zz-stuck", state_state=1, monitor_stuck=0),
        stats={"state.state": 1, "monitor.responsive": False, "monitor.stuck.time": 12_300_000_000},
        missing_groups=("block", "balloon"),
    )
    busy = structs.replace(domain("mm-busy", state_state=1), missing_groups=("vcpu",))
    full = domain("ff-full", state_state=3, state_reason=5)
    service = FakeService(
        HostSample(
            timestamp=1.0,
            duration=0.1,
            up=True,
            host=HostInfo(
                name="", driver="QEMU", hypervisor_version="7.2.0", libvirt_version="9.0.0"
            ),
            domains=(domain("aa"), busy, full, stuck),
            groups=(GroupOutcome(group="perf", success=False, duration=0.1),),
            unparsable=("4711",),
        )
    )

    text = get(service, "/").text

    assert "Groups that failed: perf" in text
    assert "4711" in text
    assert "QEMU 7.2.0, libvirt 9.0.0" in text
    assert "1 of 4 VMs stuck" in text
    assert "1 of 4 VMs did not answer in full" in text
    assert [(row[0], row[-1]) for row in PageReader(text).rows[1:]] == [
        ("zz-stuck", "stuck for 12 s, missing: block, balloon"),
        ("mm-busy", "missing: vcpu"),
        ("ff-full", "paused by an I/O error"),
        ("aa", ""),
    ]


def test_without_libvirt_the_page_says_nothing_but_that() -> None:
    """That there are no VMs, or that groups failed, would be no news, or wrong.

    libvirt's words are for the log alone: they may name users, keys and hosts.
    """
    away = structs.replace(
        host(up=False, error="Failed to connect socket: Permission denied"),
        error_code=38,
        groups=(GroupOutcome(group="perf", success=False, duration=0.1),),
    )
    text = get(FakeService(away), "/").text
    assert "libvirt does not answer (libvirt&#x27;s error 38). The exporter&#x27;s log" in text
    for word in ("Permission denied", "VMs", "perf", "sampled", "refresh"):
        assert word not in text


@pytest.mark.parametrize(
    ("libvirt", "shown"),
    [
        (Libvirt(uri="qemu+tls://far/system"), "qemu+tls://far/system"),
        (Libvirt(uri="qemu+tls://far/system", name="rack 7"), "rack 7"),
        (
            Libvirt(uri="esx://anna:secret@far/?pkipath=/etc/pki"),
            "esx://***@far/?pkipath=***",
        ),
    ],
)
@pytest.mark.parametrize("up", [True, False])
def test_the_page_names_host_and_version(libvirt: Libvirt, shown: str, up: bool) -> None:
    """Whose VMs these are, by name or else URI, and which exporter says so, libvirt up or down."""
    service = FakeService(host(up=up))
    service.config = Config(libvirt=libvirt)
    text = get(service, "/").text
    assert f'<p class="dim">{shown} · ' in text
    assert f"exporter {__version__}" in text


def test_an_empty_host_says_so() -> None:
    """It is not an empty page."""
    assert "no VMs" in get(FakeService(), "/").text


def test_a_page_without_rates_is_loaded_once_more() -> None:
    """Rates take two samples; with them the page stays as it is."""
    assert '<meta http-equiv="refresh" content="2">' in get(serving(domain("a")), "/").text
    again = serving(domain("a"), before=(domain("a", at=5.0),))
    assert "refresh" not in get(again, "/").text


def figures() -> Iterator[tuple[DomainSample, DomainSample]]:
    """Three VMs earlier and now; of one nothing is known."""
    for name, cpu, memory in (("b", 3, 3), ("c", 1, 5), ("a", 2, 1)):
        stats: dict[str, Any] = {
            "balloon_current": memory * 2**20,
            "vcpu_current": cpu,
            "state_state": cpu,
        }
        yield domain(name, 5.0, cpu_time=0), domain(name, cpu_time=cpu * 10**9, **stats)
    yield domain("x", 5.0), domain("x", state_state=6)


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("", "abcx"),
        ("sort=name", "abcx"),
        ("sort=name&order=desc", "xcba"),
        ("sort=cpu", "cabx"),
        ("sort=cpu&order=desc", "bacx"),
        ("sort=memory&order=desc", "cbax"),
        ("sort=vcpus&order=desc", "bacx"),
        ("sort=disk&order=desc", "abcx"),
        ("sort=colour&order=desc", "abcx"),
        ("sort=cpu&order=sideways", "cabx"),
    ],
)
def test_columns_sort(query: str, names: str) -> None:
    """Upwards and downwards; what is not known is last in either case."""
    before, now = zip(*figures(), strict=True)
    assert listed(f"/?{query}", *now, before=before).names == [*names]


def test_headings_turn_the_order_and_keep_the_search() -> None:
    """The first click on a number has the largest first, the second one the smallest."""
    page = listed("/?q=a", domain("a"))
    assert page.links["CPU"] == "/?q=a&sort=cpu&order=desc"
    assert page.links["VM"] == "/?q=a&sort=name&order=asc"
    assert listed("/?sort=cpu&order=desc", domain("a")).links["CPU ▼"] == "/?sort=cpu&order=asc"
    text = get(serving(domain("a")), "/?sort=cpu&order=desc&q=A").text
    assert 'aria-sort="descending"' in text
    assert '<input type="hidden" name="sort" value="cpu">' in text
    assert 'value="A"' in text


@pytest.mark.parametrize(
    ("wanted", "names"),
    [("web", ["Web-1", "db"]), ("WEB-1", ["Web-1"]), ("uuid of d", ["db"]), ("nobody", [])],
)
def test_search_finds_names_and_uuids(wanted: str, names: list[str]) -> None:
    """Libvirt's and Nova's names, in any case."""
    nova = DomainInfo(uuid="u", name="db", openstack=OpenStackInfo(instance_name="webshop-db"))
    service = serving(domain("Web-1"), structs.replace(domain("db"), info=nova))
    text = get(service, f"/?q={wanted}").text
    assert [name.partition(" ")[0] for name in PageReader(text).names] == names
    assert ("No VM has this" in text) == (not names)


def test_a_large_host_is_shown_in_parts() -> None:
    """A page has so many rows at most, and ways to those before and after."""
    many = [domain(f"vm-{number:05}", state_state=1) for number in range(2 * PART + 5)]
    first, second, last = (listed(f"/?q=vm&page={part}", *many) for part in (1, 2, 3))

    assert [len(page.names) for page in (first, second, last)] == [PART, PART, 5]
    assert first.names + second.names + last.names == [vm.name for vm in many]
    assert first.links["next"] == second.links["next"].replace("3", "2") == "/?q=vm&page=2"
    assert "previous" not in first.links
    assert "next" not in last.links
    for odd in ("99999", "0", "-1", "x", "1e9", "٣", "9" * 99):
        assert len(listed(f"/?page={odd}", *many).names) in {PART, 5}


def test_the_size_of_a_page_does_not_follow_the_host() -> None:
    """Ten thousand VMs make a page of some dozens of KiB."""
    many = [domain("x" * 200 + str(number), state_state=1) for number in range(10_000)]
    assert len(get(serving(*many), "/").content) < 150_000


# The page of a VM.


def of(sample: DomainSample, metrics: frozenset[str], before: DomainSample | None = None) -> str:
    """The page of a VM where the configuration lets these metrics be shown."""
    made = overview(host(sample), host(before) if before else None, metrics)
    return vm_page(made, sample, Place("kvm1", "/metrics")).decode()


def test_a_vm_has_a_page_of_its_own() -> None:
    """With figures, disks, interfaces, events and facts, and ways to metrics and fields."""
    stats = {**TYPICAL_STATS, "event.last.watchdog": 1_700_000_000 * 10**9}
    before = structs.replace(typical(), stats=stats, timestamp=100.0)
    grown = {
        "cpu.time": 10**10,
        "block.0.rd.bytes": 9 + 2**20,
        "block.0.rd.reqs": 9 + 20,
        "block.0.rd.times": 9 + 40_000_000,
        "net.0.rx.bytes": 3 + 2048,
    }
    service = serving(
        structs.replace(typical(), stats=stats | grown, timestamp=102.0),
        before=(before,),
    )
    response = get(service, f"/vms/{UUID}")
    page, text = PageReader(response.text), response.text

    assert response.status_code == 200
    assert page.rows[1][:5] == ["vda", "disk virtio qcow2", "9 B", "9 B", "512 KiB/s"]
    assert page.rows[1][6:] == ["10/s", "2 ms"]
    assert page.rows[2][4] == "0 B/s"
    assert page.rows[4] == ["vnet0", "bridge", "1 KiB/s", "0 B/s", "6", "6"]
    assert "250% of one CPU, 2 vCPUs" in text
    assert "<dt>watchdog</dt><dd>2023-11-14 22:13:20 UTC</dd>" in text
    assert "<dt>Watchdogs</dt><dd>i6300esb (pause)</dd>" in text
    assert page.links["Metrics"] == f"/metrics?domain[]={UUID}"
    assert page.links["Fields as JSON"] == f"/api/v1/vms?vmIds={UUID}"
    assert page.links["Diagnostics"] == f"/api/v1/vms/{UUID}/diagnostics"


def test_nothing_sensitive_is_on_the_page_of_a_vm() -> None:
    """No path, address, serial number, free text nor name of a person, whatever the XML says."""
    secrets = {
        *("secret-path", "secret-serial", "secret-title", "secret-mac", "secret-user"),
        *("secret-description", "secret-bridge", "secret-source"),
    }
    info = structs.replace(
        TYPICAL_INFO,
        title="secret-title",
        description="secret-description",
        system_serial="secret-serial",
        disks=(Disk(device="vda", source="secret-path", serial="secret-serial"),),
        interfaces=(
            Interface(
                device="vnet0", mac="secret-mac", bridge="secret-bridge", source="secret-source"
            ),
        ),
        openstack=OpenStackInfo(instance_name="shop", user_name="secret-user", flavor="m1"),
    )
    stats = {**TYPICAL_STATS, "block.0.path": "secret-path"}
    text = get(serving(structs.replace(typical(), stats=stats, info=info)), f"/vms/{UUID}").text
    assert not [word for word in secrets if word in text]
    assert "m1" in text


@pytest.mark.parametrize(
    ("metric", "word"),
    [
        ("libvirt_domain_openstack_info", "shop-7"),
        ("libvirt_domain_last_event_timestamp_seconds", "2023-11-14"),
        ("libvirt_domain_block_info", "qcow2"),
        ("libvirt_domain_interface_info", "bridge"),
        ("libvirt_domain_info", "x86_64"),
    ],
)
def test_what_the_metrics_may_not_say_the_page_does_not(metric: str, word: str) -> None:
    """A configuration that leaves out a fact leaves it out of the pages too."""
    every = frozenset(
        {
            *("libvirt_domain_openstack_info", "libvirt_domain_last_event_timestamp_seconds"),
            *("libvirt_domain_block_info", "libvirt_domain_interface_info", "libvirt_domain_info"),
        }
    )
    info = structs.replace(TYPICAL_INFO, openstack=OpenStackInfo(instance_name="shop-7"))
    stats = {**TYPICAL_STATS, "event.last.panic": 1_700_000_000 * 10**9}
    sample = structs.replace(typical(), stats=stats, info=info)
    assert word in of(sample, every)
    assert word not in of(sample, every - {metric})


@pytest.mark.parametrize("uuid", [UUID.upper(), UUID.replace("-", "")])
def test_a_uuid_may_be_written_in_any_way(uuid: str) -> None:
    """As for the API."""
    assert get(serving(typical()), f"/vms/{uuid}").status_code == 200


@pytest.mark.parametrize("name", ["nobody", "web", "%2e%2e", "%3Cscript%3E"])
def test_a_vm_that_is_not_there_is_404(name: str) -> None:
    """In plain words, with the way to those that are."""
    response = get(serving(typical()), f"/vms/{name}")
    assert response.status_code == 404
    assert response.headers["Content-Type"].startswith("text/plain")
    assert "There is no such VM" in response.text


# What all pages hold.

ANY_TEXT = st.text(st.characters(exclude_categories=()))


def _shapes(name: str, error: str, search: str) -> Iterator[PageReader]:
    """The pages of a VM of that name, and of one that is there with another state of the host."""
    info = structs.replace(
        TYPICAL_INFO,
        name=name,
        machine=name or "x",
        disks=(Disk(device=name, format=name),),
        openstack=OpenStackInfo(instance_name=f"{name}!", flavor=name or "x"),
    )
    hostile = structs.replace(
        domain("x"), uuid=name, name=name, missing_groups=(name or "x",), info=info
    )
    sample = host(hostile, up=False, error=error)
    metrics = frozenset(
        {"libvirt_domain_openstack_info", "libvirt_domain_info", "libvirt_domain_block_info"}
    )
    made = overview(sample, None, metrics)
    place = Place(name, "/metrics", alias=name, one_of_several=True)
    yield PageReader(vm_list(made, View(), place).decode())
    yield PageReader(vm_list(made, View("cpu", True, search), place).decode())
    yield PageReader(vm_page(made, hostile, place).decode())


@given(ANY_TEXT, ANY_TEXT)
def test_hostile_text_stays_text(name: str, error: str) -> None:
    """Whatever a VM, a device or a search is called, the page's structure is a harmless one's."""
    for page, harmless in zip(_shapes(name, error, name), _shapes("x", "x", "x"), strict=True):
        assert (page.tags, page.attributes) == (harmless.tags, harmless.attributes)
        assert len(page.rows) == len(harmless.rows)


@pytest.mark.parametrize("path", ["/", "/?q=%3Cscript%3E%22'", "/vms/u"])
def test_script_is_escaped(path: str) -> None:
    """The classic: markup in a VM's name or a search is shown, not run."""
    evil = structs.replace(domain("<script>alert('1')</script>\"\udcff"), uuid="u")
    page = get(serving(evil), path).text
    assert "<script" not in page
    assert "&lt;script&gt;" in page


@pytest.mark.parametrize("path", ["/", f"/vms/{UUID}"])
def test_content_security_policy_allows_the_own_style_only(path: str) -> None:
    """The policy forbids scripts and everything external, and its hash is that of the style."""
    response = get(serving(typical()), path)
    policy = response.headers["Content-Security-Policy"]
    style = re.search("<style>(.*)</style>", response.text, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert "default-src 'none'" in policy
    assert f"style-src 'sha256-{digest}'" in policy
    assert "script-src" not in policy
    page = PageReader(response.text)
    assert "script" not in page.tags
    assert "style" not in page.attributes
    assert not re.search(r"(src|href)=\"(https?:)?//", response.text)


def test_a_page_is_made_once_for_each_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many look at it at the same time, or later."""
    made = []

    def counting(*arguments: Any) -> bytes:
        made.append(arguments[1])
        return vm_list(*arguments)

    monkeypatch.setattr(routes, "vm_list", counting)

    async def run() -> None:
        service = FakeService()
        async with client(service) as session:
            await asyncio.gather(*(session.get("/") for _ in range(10)))
            await session.get("/")
            assert len(made) == 1
            await session.get("/?sort=cpu")
            await session.get("/?sort=cpu&page=1")
            assert len(made) == 2
            service.sample = HostSample(timestamp=2.0, duration=0.01, up=True)
            await session.get("/")
            assert len(made) == 3

    asyncio.run(run())


def test_of_many_views_few_are_kept() -> None:
    """Whoever asks for ever other searches holds a bounded number of pages."""

    async def run() -> None:
        service = serving(domain("a"))
        pages = routes.Pages(service, "/metrics", bodies=None)  # type: ignore[arg-type]
        made = await service.overview()
        for number in range(50):
            await pages._made(made, Place("h", "/metrics"), number, lambda: b"x")
        assert len(pages._kept[""].pages) <= 16

    asyncio.run(run())
