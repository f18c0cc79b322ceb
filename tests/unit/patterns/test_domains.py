"""Which domains the configuration shows."""

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libvirt_exporter.model import STATES, DomainInfo, OpenStackInfo, OvirtInfo
from libvirt_exporter.patterns.domains import DomainFilter
from libvirt_exporter.patterns.expressions import LONGEST_TEXT
from libvirt_exporter.patterns.metadata import METADATA

UUID = "4dea22b3-1d52-d8f3-2516-782e98ab3fa0"
INFO = DomainInfo(
    uuid=UUID,
    name="web-1",
    openstack=OpenStackInfo(
        instance_name="shop", flavor="m1.small", project_id="42", project_name="prod-shop"
    ),
    ovirt=OvirtInfo(cluster_version="4.7"),
    custom_labels=(("tenant", "acme"), ("rack", "")),
)
BARE = DomainInfo(uuid=UUID, name="web-1")
LABELS = ("tenant", "rack")


def matched(pattern: str, info: DomainInfo | None = INFO) -> bool | None:
    """Return whether the pattern, as the only one included, shows the running domain web-1."""
    domains = DomainFilter([pattern], labels=LABELS)
    return domains.matches("web-1", UUID, "running", info)


def test_without_patterns_every_domain_is_shown() -> None:
    """An empty include means all."""
    assert DomainFilter().matches("x", UUID, "shutoff", None)


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("web-1", True),
        ("web-[0-9]", True),
        ("web", False),
        ("eb-1", False),
        ("(?i:WEB-1)", True),
        (f"uuid:{UUID}", True),
        (f"uuid:{UUID.upper()}", True),
        (f"uuid:{UUID[:-1]}1", False),
        ("state:running", True),
        ("state:paused", False),
        ("metadata:openstack.project=prod-.*", True),
        ("metadata:openstack.project=prod", False),
        ("metadata:openstack.project_id=42", True),
        ("metadata:openstack.flavor=m1\\.small|m1\\.large", True),
        ("metadata:openstack.instance_name=shop", True),
        ("metadata:ovirt.cluster_version=4\\.[0-9]", True),
        ("label:tenant=acme|other", True),
        ("label:tenant=other", False),
    ],
)
def test_a_pattern_matches_the_whole_of_what_it_names(pattern: str, expected: bool) -> None:
    """Each kind of pattern, on a domain that has all facts."""
    assert matched(pattern) is expected


FACTS = [f"metadata:{key}=.*" for key in METADATA] + ["label:tenant=.*", "label:rack=.*"]


@pytest.mark.parametrize("pattern", FACTS)
def test_a_fact_that_is_absent_neither_includes_nor_excludes(pattern: str) -> None:
    """Absent is not empty: even .* does not match it."""
    assert not matched(pattern, BARE)
    assert DomainFilter(exclude=[pattern], labels=LABELS).matches("a", UUID, "running", BARE)


@pytest.mark.parametrize("pattern", FACTS)
def test_while_the_xml_is_unknown_facts_decide_nothing(pattern: str) -> None:
    """Nobody can tell then, unless another pattern does."""
    included = DomainFilter(["web", pattern], labels=LABELS)
    excluded = DomainFilter(exclude=["web", pattern], labels=LABELS)

    assert included.matches("a", UUID, "running", None) is None
    assert included.matches("web", UUID, "running", None) is True
    assert excluded.matches("a", UUID, "running", None) is None
    assert excluded.matches("web", UUID, "running", None) is False


def test_exclude_wins_over_include() -> None:
    """A domain on both lists is not shown, one on the first alone is."""
    domains = DomainFilter(["web-.*"], ["web-1", "state:paused"])
    assert domains.matches("web-2", UUID, "running", None)
    assert not domains.matches("web-1", UUID, "running", None)
    assert not domains.matches("web-2", UUID, "paused", None)
    assert not domains.matches("db", UUID, "running", None)


def test_any_pattern_of_a_list_is_enough() -> None:
    """Patterns of different kinds are alternatives."""
    domains = DomainFilter(["db", "state:paused", f"uuid:{UUID}", "label:tenant=x"], labels=LABELS)
    assert domains.matches("web-1", UUID, "running", None)


def test_a_colon_in_a_name_is_written_with_a_backslash() -> None:
    """Names that look like another kind of pattern can still be named."""
    assert DomainFilter([r"state\:running"]).matches("state:running", UUID, "paused", None)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("", "an empty pattern"),
        ("(", "is not a regular expression"),
        ("a{99999999999999999999}", "is not a regular expression"),
        ("uuid:", "'' is not a UUID"),
        ("state:Running", "unknown state 'Running'; known: nostate, running"),
        ("metadata:name=x", "unknown metadata key 'name'; known: openstack.project"),
        ("metadata:openstack.flavor", "has no ="),
        ("metadata:openstack.flavor=[", "is not a regular expression"),
        ("label:owner=x", "unknown custom label 'owner'; known: tenant, rack"),
        ("name:web", "a pattern of names has no prefix: write 'web'"),
        ("pool:web", "unknown kind of pattern 'pool:'"),
    ],
)
def test_what_is_no_pattern_is_refused(pattern: str, message: str) -> None:
    """The message says what is wrong and what there is."""
    with pytest.raises(ValueError, match=re.escape(message)):
        DomainFilter(exclude=[pattern], labels=LABELS)


@pytest.mark.parametrize(
    "pattern",
    [r"(\w+\s?)+-prod", r"(a*)*b", r"(a|aa)+$", "(.*)*x", r"(?:.*a.{400}){1,2}b", "(a?){30}a{30}b"],
)
@pytest.mark.parametrize("kind", ["", "metadata:openstack.instance_name=", "label:tenant="])
def test_no_pattern_takes_long_on_any_text(pattern: str, kind: str) -> None:
    """Nor on the longest text that is tried, of every one of a list of VMs."""
    text = "a" * LONGEST_TEXT
    domains = DomainFilter(exclude=[kind + pattern], labels=LABELS)
    started = time.process_time()
    for number in range(20):
        name = f"{number}{text}"[:LONGEST_TEXT]
        info = DomainInfo(
            uuid=UUID,
            name=name,
            openstack=OpenStackInfo(instance_name=name),
            custom_labels=(("tenant", name),),
        )
        domains.matches(name, UUID, "running", info)
    assert time.process_time() - started < 2


def test_what_is_too_long_for_a_pattern_is_not_shown() -> None:
    """It cannot be told whether it is excluded, so nobody sees it; what has no pattern matters not.

    A pattern that needs no text decides all the same.
    """
    name = "a" * (LONGEST_TEXT + 1)
    info = DomainInfo(uuid=UUID, name=name, custom_labels=(("tenant", name),))
    for pattern in ("b", "label:tenant=b"):
        assert DomainFilter([pattern], labels=LABELS).matches(name, UUID, "running", info) is None
        excluded = DomainFilter(exclude=[pattern, f"uuid:{UUID}"], labels=LABELS)
        assert excluded.matches(name, UUID, "running", info) is False
        assert excluded.matches(name, UUID[:-1] + "1", "running", info) is None
    assert DomainFilter(exclude=["state:paused"]).matches(name, UUID, "running", info) is True


@pytest.mark.parametrize("name", ["w\udcff", "w\nb"])
def test_odd_characters_of_a_name_are_matched_by_a_dot(name: str) -> None:
    """Stray bytes, which libvirt-python turns into lone surrogates, and line breaks too."""
    assert DomainFilter(exclude=["w.*"]).matches(name, UUID, "running", None) is False


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        (r"(?!test).*", ["(RE2)", "look-around", "other list"]),
        (r"(?<=a)b", ["look-around"]),
        (r"(a)\1", ["back-references"]),
        (r"web\Z", ["always matches the whole"]),
        (r"caf\u00e9", [r"\x{e9}"]),
        (r"a++", ["possessive"]),
        (r"(?x) a", ["(?x"]),
        (r"a{2000}", ["1000 times at most"]),
        (r"a{,3}", ["{,3}", "{0,n}"]),
        (".{1000}" * 20, ["too large"]),
    ],
)
def test_what_python_knows_and_re2_does_not_is_refused(pattern: str, words: list[str]) -> None:
    """The message says what to write instead."""
    with pytest.raises(ValueError, match=re.escape("is not a regular expression (RE2)")) as raised:
        DomainFilter([pattern])
    for word in words:
        assert word in str(raised.value)


@settings(deadline=None)
@given(st.text(), st.sampled_from(STATES))
def test_an_escaped_name_matches_itself_and_nothing_else(name: str, state: str) -> None:
    """Hostile names can be named exactly; a colon needs its backslash."""
    pattern = re.escape(name).replace(":", r"\:")
    if pattern:
        domains = DomainFilter([pattern])
        assert domains.matches(name, UUID, state, None)
        assert not domains.matches(f"{name}x", UUID, state, None)
