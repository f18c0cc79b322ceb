"""The alerting rules over time: when they fire, with which words, when they end.

The cases are files for `promtool test rules` beside this one, in rules/.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.contract.promtool import promtool, read, write

CASES: Final = Path(__file__).parent / "rules"
RULES: Final = Path(__file__).parents[2] / "deploy" / "prometheus" / "rules"
FILES: Final = sorted(CASES.glob("*.yml"))


TESTS: Final[tuple[dict[str, Any], ...]] = tuple(
    case for file in FILES for case in yaml.safe_load(file.read_text())["tests"]
)
PENDING: Final = {
    rule["alert"]: "for" in rule
    for file in RULES.glob("*.yml")
    for group in yaml.safe_load(file.read_text())["groups"]
    for rule in group["rules"]
    if "alert" in rule
}
"""Whether an alert waits before it fires, by its name."""
ALERTS: Final = sorted(PENDING)

FORGOTTEN: Final = re.compile(
    r"libvirt_domain_(last_event_timestamp_seconds|last_job_\w+|\w*(events?|errors|failures)_total)\b"
)
"""What an exporter without a state directory has forgotten after a restart."""


def samples(values: str) -> list[str]:
    """Promtool's notation of a series, sample by sample."""
    found: list[str] = []
    for word in values.split():
        parts = re.fullmatch(
            r"(?P<first>_|stale|-?[\d.]+(?:e\d+)?)(?:(?P<step>[+-][\d.]+(?:e\d+)?))?(?:x(?P<times>\d+))?",
            word,
        )
        assert parts, word
        times = int(parts["times"] or 0)
        if parts["first"] in ("_", "stale"):
            found += [parts["first"]] * (times or 1)
        else:
            step = float(parts["step"] or 0)
            found += [f"{float(parts['first']) + step * n:.15g}" for n in range(times + 1)]
    return found


def without_scrape(series: dict[str, str], lost: int, *, restart: bool = False) -> dict[str, str]:
    """The series without the scrape of one minute; with a restart, also what is forgotten then."""
    name = series["series"]
    values = samples(series["values"])
    if lost < len(values) and values[lost] != "_":
        values[lost] = "0" if name.startswith("up{") else "stale"
    if restart and FORGOTTEN.match(name):
        values[lost + 1 :] = ["_"] * len(values[lost + 1 :])
    elif restart and re.match(r"libvirt_exporter_\w+_total\b", name):
        values[lost + 1 :] = ["0"] * len(values[lost + 1 :])
    return {"series": name, "values": " ".join(values)}


def minute(step: dict[str, Any]) -> int:
    """When a step of a case looks at an alert."""
    return int(step["eval_time"].removesuffix("m"))


def expected(steps: list[dict[str, Any]], time: int) -> int:
    """How many alerts are up at a minute, by the last step that has looked by then."""
    return [len(step["exp_alerts"]) for step in steps if minute(step) <= time][-1]


def variants(case: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The case with a scrape lost before an alert is up and while it is, and with a restart."""
    tested = case.get("alert_rule_test", [])
    for name in sorted({step["alertname"] for step in tested}):
        steps = [step for step in tested if step["alertname"] == name]
        up = [step for step in steps if step["exp_alerts"]]
        if not up:
            continue
        first = minute(up[0])
        ends = [minute(step) for step in steps if not step["exp_alerts"] and minute(step) > first]
        for what, lost, seen, restart in (
            ("pending", first, [first], False),
            ("firing", first + 1, [first + 1], False),
            ("restart", first + 1, range(first + 1, min([first + 3, *ends])), True),
        ):
            if what != "pending" or PENDING[name]:
                yield {
                    "name": f"{case['name']}: {name}, {what}",
                    "interval": case["interval"],
                    "input_series": [
                        without_scrape(series, lost, restart=restart)
                        for series in case["input_series"]
                    ],
                    "promql_expr_test": [
                        {
                            "expr": f'count(ALERTS{{alertname="{name}",alertstate="firing"}})',
                            "eval_time": f"{time}m",
                            "exp_samples": [{"labels": "{}", "value": expected(steps, time)}],
                        }
                        for time in seen
                    ],
                }


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_alerts_come_and_go_as_the_cases_say(file: Path) -> None:
    """Prometheus' own test of rules finds every alert with its very labels and annotations."""
    verdict = promtool(file)

    assert verdict.returncode == 0, verdict.stdout


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_alerts_survive_a_lost_scrape_and_a_restart(file: Path, tmp_path: Path) -> None:
    """What is up stays up, and what is about to fire fires, when a scrape is missing."""
    cases = read(file)
    cases["tests"] = [variant for case in cases["tests"] for variant in variants(case)]

    verdict = promtool(write(tmp_path / file.name, cases))
    assert verdict.returncode == 0, verdict.stdout


def test_alert_of_other_words_is_seen(tmp_path: Path) -> None:
    """The test above fails where an annotation differs."""
    case = next(file for file in FILES if file.stem == "hosts")
    text = case.read_text().replace("../../../deploy/prometheus/rules", str(RULES))
    changed = tmp_path / "hosts.yml"
    changed.write_text(text.replace("does not answer", "doesn't answer"))

    assert promtool(changed).returncode != 0


@pytest.mark.parametrize("alert", ALERTS)
def test_alert_is_seen_to_be_silent_to_fire_and_to_end(alert: str) -> None:
    """In one case it is not up a minute before it first is, and not up in the end."""
    seen = []
    for case in TESTS:
        steps = [step for step in case.get("alert_rule_test", ()) if step["alertname"] == alert]
        up = {minute(step): bool(step["exp_alerts"]) for step in steps}
        assert list(up) == sorted(up), case["name"]
        first = next((time for time in up if up[time]), None)
        seen.append(
            first is not None and up.get(first - 1) is False and list(up.values())[-1] is False
        )

    assert True in seen, (
        f"no case shows {alert} silent, then firing a minute later, and silent in the end: add one "
        "to a file in tests/contract/rules, and try it with `promtool test rules` on that file"
    )
