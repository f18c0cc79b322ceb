"""The alerts on VMs are the same whatever `labels.identity` tells VMs apart by.

Each case of rules/domains.yml is tried again without the label `uuid`, then without `domain`,
beside another VM on each host.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.contract.promtool import promtool, read, write

FILE: Final = Path(__file__).parent / "rules" / "domains.yml"
VALUE: Final = r'"((?:[^"\\]|\\.)*)"'

OTHER: Final = {"domain": "another", "uuid": "u-0"}
"""A VM that no alert is about."""


def label(series: str, name: str) -> str | None:
    """The value of a label as promtool's notation has it; None where there is none."""
    found = re.search(rf"[{{,]{name}={VALUE}", series)
    return found[1] if found else None


def without(series: str, name: str) -> str:
    """The series without one of its labels."""
    return re.sub(rf",{name}={VALUE}", "", re.sub(rf"{{{name}={VALUE},", "{", series))


def series(name: str, labels: dict[str, str], **more: str) -> str:
    """A series of labels that are in promtool's notation already."""
    texts = (f'{key}="{text}"' for key, text in (labels | more).items())
    return name + "{" + ",".join(texts) + "}"


def vms(case: dict[str, Any]) -> list[dict[str, str]]:
    """The VMs that a case has series of, and another one on each of their hosts."""
    found = []
    for each in case["input_series"]:
        labels = {
            name: text
            for name in ("job", "instance", "domain", "uuid")
            if (text := label(each["series"], name)) is not None
        }
        if len(labels) == 4:
            for vm in (labels, labels | OTHER):
                if vm not in found:
                    found.append(vm)
    return found


def known(case: dict[str, Any]) -> Iterator[dict[str, str]]:
    """What an exporter shows of every VM, and of the other one what an alert might take for its
    own."""
    given = {each["series"] for each in case["input_series"]}
    minutes = (each["eval_time"].removesuffix("m") for each in case["alert_rule_test"])
    end = max(map(int, minutes)) + 1
    for vm in vms(case):
        state = series("libvirt_domain_state", vm, state="running")
        if state not in given:
            yield {"series": state, "values": f"0x{end}"}
        yield {"series": series("libvirt_domain_info", vm), "values": f"1x{end}"}
        if OTHER.items() <= vm.items():
            wrong = series("libvirt_domain_disk_error", vm, device="wrong", error="no_space")
            yield {"series": wrong, "values": f"1x{end}"}
            # In every second scrape only, which is no alert.
            wrong = series("libvirt_domain_sample_missing", vm, group="wrong")
            yield {"series": wrong, "values": " ".join(["1 _"] * end)}


def identified(case: dict[str, Any], gone: str) -> dict[str, Any]:
    """The case without the label; libvirt_domain_info has it all the same."""

    def alert(expected: dict[str, Any]) -> dict[str, Any]:
        labels = expected["exp_labels"]
        left = {name: "" if name == gone else labels[name] for name in ("domain", "uuid")}
        text = expected["exp_annotations"]["description"].replace(
            f"{labels['domain']} ({labels['uuid']})", f"{left['domain']} ({left['uuid']})"
        )
        return {
            "exp_labels": {name: text for name, text in labels.items() if name != gone},
            "exp_annotations": expected["exp_annotations"] | {"description": text},
        }

    return {
        "name": f"{case['name']}, without {gone}",
        "interval": case["interval"],
        "input_series": [
            each
            if each["series"].startswith("libvirt_domain_info{")
            else each | {"series": without(each["series"], gone)}
            for each in (*case["input_series"], *known(case))
        ],
        "alert_rule_test": [
            each | {"exp_alerts": [alert(expected) for expected in each["exp_alerts"]]}
            for each in case["alert_rule_test"]
        ],
    }


@pytest.mark.parametrize("gone", ["uuid", "domain"])
def test_alerts_name_their_vm_by_the_label_that_is_left(gone: str, tmp_path: Path) -> None:
    """With its name in the summary, and its own disks and groups in the description."""
    cases = read(FILE)
    cases["tests"] = [identified(case, gone) for case in cases["tests"]]

    verdict = promtool(write(tmp_path / FILE.name, cases))
    assert verdict.returncode == 0, verdict.stdout


def test_label_is_found_and_left_out() -> None:
    """Also first, last, and with a value that needs quotes."""
    text = 'a{domain="dou\\"ble, \\\\",uuid="u-1"}'
    assert (label(text, "domain"), label(text, "uuid")) == ('dou\\"ble, \\\\', "u-1")
    assert label(text, "device") is None
    assert without(text, "domain") == 'a{uuid="u-1"}'
    assert without(text, "uuid") == 'a{domain="dou\\"ble, \\\\"}'
