"""The alerting rules over time: when they fire, with which words, when they end.

The cases are files for `promtool test rules` beside this one, in rules/.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

CASES: Final = Path(__file__).parent / "rules"
RULES: Final = Path(__file__).parents[2] / "deploy" / "prometheus" / "rules"
FILES: Final = sorted(CASES.glob("*.yml"))


def promtool(*files: Path) -> subprocess.CompletedProcess[str]:
    """What `promtool test rules` says."""
    return subprocess.run(
        ["promtool", "test", "rules", *files],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


TESTS: Final[tuple[dict[str, Any], ...]] = tuple(
    case for file in FILES for case in yaml.safe_load(file.read_text())["tests"]
)
ALERTS: Final = sorted(
    {
        rule["alert"]
        for file in RULES.glob("*.yml")
        for group in yaml.safe_load(file.read_text())["groups"]
        for rule in group["rules"]
    }
)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_alerts_come_and_go_as_the_cases_say(file: Path) -> None:
    """Prometheus' own test of rules finds every alert with its very labels and annotations."""
    verdict = promtool(file)

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
        steps = [step for step in case["alert_rule_test"] if step["alertname"] == alert]
        up = {int(step["eval_time"][:-1]): bool(step["exp_alerts"]) for step in steps}
        assert list(up) == sorted(up), case["name"]
        first = next((time for time in up if up[time]), None)
        seen.append(
            first is not None and up.get(first - 1) is False and list(up.values())[-1] is False
        )

    assert True in seen, (
        f"no case shows {alert} silent, then firing a minute later, and silent in the end: add one "
        "to a file in tests/contract/rules, and try it with `promtool test rules` on that file"
    )
