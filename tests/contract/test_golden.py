"""Recorded hosts give the expositions that they gave before, and together every metric."""

from __future__ import annotations

import subprocess

import pytest

from libvirt_exporter.catalogue import SAMPLE_METRICS
from libvirt_exporter.catalogue.exporter import SCRAPE_METRICS
from tests.contract import golden
from tests.contract.cases import cases
from tests.contract.synthetic import stats_keys


@pytest.mark.parametrize("extension", golden.FORMATS)
@pytest.mark.parametrize("profile", golden.PROFILES)
@pytest.mark.parametrize("case", cases())
def test_exposition_is_the_golden_one(case: str, profile: str, extension: str) -> None:
    """Whoever changes an exposition sees what it does to real hosts (`make golden`)."""
    body = golden.exposition(cases()[case], profile, extension)

    assert body.decode() == golden.golden(case, profile, extension).read_text()


def test_no_golden_is_left_over() -> None:
    """Every file belongs to a case."""
    wanted = {
        golden.golden(case, profile, extension)
        for case in cases()
        for profile in golden.PROFILES
        for extension in golden.FORMATS
    }

    assert set(golden.DIRECTORY.iterdir()) == wanted


@pytest.mark.parametrize("profile", golden.PROFILES)
@pytest.mark.parametrize("case", cases())
def test_promtool_finds_nothing_to_say(case: str, profile: str) -> None:
    """Names, types, help and units satisfy Prometheus' own linter."""
    done = subprocess.run(
        ["promtool", "check", "metrics"],
        input=golden.golden(case, profile, "prom").read_bytes(),
        capture_output=True,
        check=False,
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_every_metric_is_produced_by_some_case() -> None:
    """No row of the catalogue waits for a key or fact that never comes."""
    lines = {
        line
        for case in cases()
        for line in golden.golden(case, "all", "prom").read_text().splitlines()
    }
    produced = {line.split()[2] for line in lines if line.startswith("# TYPE ")}
    missing = {row.name for row in (*SCRAPE_METRICS, *SAMPLE_METRICS)} - produced

    assert missing == set()


def test_recorded_hosts_have_no_unknown_keys() -> None:
    """Everything that the recorded libvirt says is mapped or withheld; the synthetic one adds."""
    unknown = {
        case: golden.golden(case, "all", "prom").read_text().count("unmapped_stats_keys{")
        for case in cases()
    }

    assert unknown == dict.fromkeys(cases(), 0) | {"synthetic": 2}


def test_synthetic_host_says_what_no_recorded_one_does() -> None:
    """Its keys are libvirt's declared ones: each names the release that brought it."""
    assert all(declared.since and declared.key for declared in stats_keys())
    assert {declared.since for declared in stats_keys()} >= {"11.10.0", "12.1.0", "12.4.0"}
