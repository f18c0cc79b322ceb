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

    assert body.decode() == golden.kept(case, profile, extension), (
        f"{case}.{profile}.{extension} in tests/contract/goldens is not what the code gives: run "
        "`make golden` and read what has changed"
    )


def test_no_golden_is_left_over() -> None:
    """Every file belongs to a case."""
    wanted = {
        golden.golden(case, profile, extension)
        for case in cases()
        for profile in golden.PROFILES
        for extension in golden.FORMATS
    }

    left_over = sorted(path.name for path in set(golden.DIRECTORY.iterdir()) - wanted)
    assert not left_over, f"no case has {left_over} in tests/contract/goldens: run `make golden`"


@pytest.mark.parametrize("profile", golden.PROFILES)
@pytest.mark.parametrize("case", cases())
def test_promtool_finds_nothing_to_say(case: str, profile: str) -> None:
    """Names, types, help and units satisfy Prometheus' own linter."""
    done = subprocess.run(
        ["promtool", "check", "metrics"],
        input=golden.kept(case, profile, "prom"),
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), (
        "correct the rows in exporter/libvirt_exporter/catalogue, then `make golden`"
    )


def test_every_metric_is_produced_by_some_case() -> None:
    """No row of the catalogue waits for a key or fact that never comes."""
    lines = {line for case in cases() for line in golden.kept(case, "all", "prom").splitlines()}
    produced = {line.split()[2] for line in lines if line.startswith("# TYPE ")}
    missing = {row.name for row in (*SCRAPE_METRICS, *SAMPLE_METRICS)} - produced

    assert not missing, (
        f"no case has a series of {sorted(missing)}: record a host that does "
        "(`python -m tests.contract.record`), or let the one of tests/contract/synthetic.py say "
        "it, then `make golden`"
    )


def test_recorded_hosts_have_no_unknown_keys() -> None:
    """Everything that the recorded libvirt says is mapped or withheld; the synthetic one adds."""
    unknown = {
        case: golden.kept(case, "all", "prom").count("unmapped_stats_keys{") for case in cases()
    }

    assert unknown == dict.fromkeys(cases(), 0) | {"synthetic": 2}, (
        "libvirt_exporter_unmapped_stats_keys in tests/contract/goldens names keys without row: "
        "add them to METRICS or WITHHELD of a file in exporter/libvirt_exporter/catalogue, then "
        "`make golden docs`"
    )


def test_synthetic_host_says_what_no_recorded_one_does() -> None:
    """Its keys are libvirt's declared ones: each names the release that brought it."""
    assert all(declared.since and declared.key for declared in stats_keys())
    assert {declared.since for declared in stats_keys()} >= {"11.10.0", "12.1.0", "12.4.0"}
