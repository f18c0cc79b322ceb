"""The demo's configuration of Prometheus and Alertmanager, and what it prints of alerts."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from libvirt_exporter.commands import demo
from libvirt_exporter.commands.shipped import FILES

ROOT: Final = Path(__file__).parents[3]
ADDRESSES: Final = {
    "exporter": "127.0.0.1:1",
    "prometheus": "127.0.0.1:2",
    "alertmanager": "127.0.0.1:3",
    "receiver": "127.0.0.1:4",
    "rules": "/shipped/rules",
}


def configured(of: str) -> Any:
    """A shipped example as the demo uses it."""
    return yaml.safe_load(demo.configuration((ROOT / FILES[of][0]).read_text(), of, ADDRESSES))


def test_prometheus_scrapes_the_demo_with_the_shipped_rules() -> None:
    """The shipped example, with other addresses and shorter times; nothing else differs."""
    found = configured("scrape")
    shipped = yaml.safe_load((ROOT / FILES["scrape"][0]).read_text())

    assert found["rule_files"] == ["/shipped/rules/*.yml"]
    assert found["scrape_configs"][0]["static_configs"] == [{"targets": ["127.0.0.1:1"]}]
    assert "127.0.0.1:3" in str(found["alerting"])
    assert set(found["global"].values()) == {"5s"}
    assert found.keys() == shipped.keys()


def test_alertmanager_tells_the_demo_by_the_shipped_routes() -> None:
    """With all of its inhibitions."""
    found = configured("alertmanager")
    shipped = yaml.safe_load((ROOT / FILES["alertmanager"][0]).read_text())

    assert found["inhibit_rules"] == shipped["inhibit_rules"]
    assert found["route"]["routes"] == shipped["route"]["routes"]
    urls = [one["url"] for to in found["receivers"] for one in to.get("webhook_configs", ())]
    assert urls == ["http://127.0.0.1:4/pager", "http://127.0.0.1:4/tickets"]


def test_an_example_that_has_changed_is_noticed() -> None:
    """Otherwise the demo would scrape something else."""
    with pytest.raises(KeyError, match="scrape_interval"):
        demo.configuration("global: {}", "scrape", ADDRESSES)


@given(st.text(), st.text(max_size=99))
def test_an_alert_is_one_line_that_commands_no_terminal(summary: str, name: str) -> None:
    """Whatever VMs are called."""
    alert = {
        "status": "firing",
        "labels": {"alertname": name},
        "annotations": {"summary": summary},
    }
    [line] = demo.told("/pager", {"alerts": [alert]})

    assert line.isprintable()
    assert " pager: firing: " in line


def test_a_notification_without_alerts_says_nothing() -> None:
    """What a receiver gets may be anything."""
    assert list(demo.told("/pager", {})) == []
    assert len(list(demo.told("/pager", {"alerts": [{}]}))) == 1
