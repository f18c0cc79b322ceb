"""A reload takes a whole configuration or nothing, and never stops the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable

import pytest
from msgspec.structs import replace

from libvirt_exporter.config import Config, ConfigError
from libvirt_exporter.config.schema import Target as TargetConfig
from libvirt_exporter.contract import ScrapeRequest
from libvirt_exporter.service import exporter as exporter_module
from libvirt_exporter.service.exporter import Exporter
from libvirt_exporter.service.target import Target
from libvirt_exporter.service.telemetry import Telemetry

pytestmark = pytest.mark.anyio

CONFIG = Config(libvirt=replace(Config().libvirt, uri="test:///default"))
OTHER = replace(CONFIG, libvirt=replace(CONFIG.libvirt, name="other"))


def successful(telemetry: Telemetry) -> float | None:
    """The gauge of the last reload."""
    return telemetry.registry.get_sample_value("libvirt_exporter_config_last_reload_successful")


def loads(*results: Config | Exception | Callable[[], Config]) -> Callable[[], Config]:
    """What gives one of the results after the other."""
    rest = iter(results)

    def load() -> Config:
        result = next(rest)
        if isinstance(result, Exception):
            raise result
        return result if isinstance(result, Config) else result()

    return load


@pytest.mark.parametrize("error", [RecursionError("too deep"), ConfigError([]), OSError(5, "I/O")])
async def test_any_exception_of_a_reload_keeps_the_old_configuration(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    """The gauge is 0 and the log says so, whatever it was; the next good one is taken."""
    telemetry = Telemetry()
    with contextlib.closing(Exporter(loads(CONFIG, error, OTHER), telemetry)) as exporter:
        assert successful(telemetry) == 1
        with pytest.raises(type(error)):
            await exporter.reload()
        assert successful(telemetry) == 0
        assert exporter.config is CONFIG
        assert "configuration not reloaded" in caplog.text
        await exporter.reload()
        assert successful(telemetry) == 1
        assert exporter.target().config.libvirt.name == "other"


async def test_what_the_process_tells_outlives_its_default_host() -> None:
    """It goes with one reload and comes back with another; no figure of it stays in between."""
    alone = replace(CONFIG, targets={"a": TargetConfig(uri="test:///default")})
    without = replace(alone, libvirt=replace(alone.libvirt, uri=""))
    telemetry = Telemetry()

    def shown(name: str) -> float | None:
        return telemetry.registry.get_sample_value(f"libvirt_exporter_{name}")

    with contextlib.closing(Exporter(loads(alone, without, alone), telemetry)) as exporter:
        limit = shown("stuck_calls_limit")
        assert limit
        await exporter.reload()
        assert shown("stuck_calls_limit") == 0
        await exporter.reload()
        assert shown("stuck_calls_limit") == limit
        body = (await exporter.target().scrape(ScrapeRequest())).body
        assert b"\nlibvirt_exporter_build_info{" in body
        assert b"\nlibvirt_exporter_config_last_reload_successful 1" in body


async def test_what_cannot_be_applied_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of it is in force."""
    telemetry = Telemetry()

    async def apply(_target: Target, _config: Config) -> None:
        raise RuntimeError("no renderer")

    monkeypatch.setattr(Target, "apply", apply)
    with contextlib.closing(Exporter(loads(CONFIG, OTHER), telemetry)) as exporter:
        with pytest.raises(RuntimeError):
            await exporter.reload()
        assert successful(telemetry) == 0
        assert exporter.config is CONFIG


async def test_a_file_that_is_never_read_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """However often a reload is asked for, one thread waits; what it brings late is stale."""
    monkeypatch.setattr(exporter_module, "LOADING_TIME", 0.05)
    answered = threading.Event()

    def hanging() -> Config:
        answered.wait()
        return CONFIG

    telemetry = Telemetry()
    before = set(threading.enumerate())
    with contextlib.closing(Exporter(loads(CONFIG, hanging, OTHER), telemetry)) as exporter:
        reloads = [asyncio.create_task(exporter.reload()) for _ in range(3)]
        outcomes = await asyncio.gather(*reloads, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [ConfigError] * 3
        assert "was not read within" in str(outcomes[0])
        started = [thread.name for thread in set(threading.enumerate()) - before]
        assert started.count("configuration") == 1
        assert successful(telemetry) == 0
        answered.set()
        monkeypatch.setattr(exporter_module, "LOADING_TIME", 10)
        await exporter.reload()
        assert exporter.config is OTHER
