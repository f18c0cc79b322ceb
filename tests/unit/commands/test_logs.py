"""Log lines: one event, one line, readable by people and by machines."""

from __future__ import annotations

import json
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libvirt_exporter.commands import logs


def record(message: str, *, level: int = logging.INFO, error: Exception | None = None) -> str:
    """A record in logfmt."""
    return logs.LogfmtFormatter().format(made(message, level=level, error=error))


def made(
    message: str, *, level: int = logging.INFO, error: Exception | None = None
) -> logging.LogRecord:
    """A record of a moment in 2001."""
    exc_info = (type(error), error, error.__traceback__) if error else None
    one = logging.LogRecord("a.b", level, __file__, 1, message, None, exc_info)
    one.created = 1_000_000_000.25
    return one


def test_logfmt_line_has_time_level_logger_and_message() -> None:
    """UTC to the millisecond; only what needs quotes has them."""
    assert record("two words") == (
        'ts=2001-09-09T01:46:40.250Z level=info logger=a.b msg="two words"'
    )


@pytest.mark.parametrize(
    ("level", "name"),
    [
        (logging.DEBUG, "debug"),
        (logging.INFO, "info"),
        (logging.WARNING, "warn"),
        (logging.ERROR, "error"),
        (logging.CRITICAL, "error"),
    ],
)
def test_levels_have_the_names_of_the_configuration(level: int, name: str) -> None:
    """Both forms name levels as `log.level` does."""
    assert f" level={name} " in record("x", level=level)
    assert json.loads(logs.JsonFormatter().format(made("x", level=level)))["level"] == name


@given(st.text(max_size=40))
def test_no_message_leaves_its_line_or_its_field(message: str) -> None:
    """Whatever a message holds, its line is one, printable, and its value can be read back."""
    line = record(message)

    assert line.isprintable()
    quoted = line.partition("msg=")[2]
    assert (json.loads(quoted) if quoted.startswith('"') else quoted) == message


@given(st.text(max_size=40))
def test_json_line_is_ascii_and_holds_the_message(message: str) -> None:
    """One ASCII line that gives the message back."""
    line = logs.JsonFormatter().format(made(message))

    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line)["msg"] == message


def test_exception_is_a_field_of_the_line() -> None:
    """A traceback does not break the line."""
    try:
        raise ValueError("bad\nnews")
    except ValueError as error:
        line = record("failed", error=error)

    assert "\n" not in line
    assert 'exception="Traceback' in line
    assert "bad\\nnews" in line


def test_setup_writes_to_stderr_from_the_level_on(
    root: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is below the level is not written; stdout stays clean."""
    logs.setup("warn", "json")

    root.info("quiet")
    root.warning("loud")

    output = capsys.readouterr()
    assert output.out == ""
    assert [json.loads(line)["msg"] for line in output.err.splitlines()] == ["loud"]


def test_setup_again_replaces_the_first(
    root: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    """After a reload with another form, each line is written once, in that form."""
    logs.setup("info", "json")
    logs.setup("debug", "logfmt")

    root.debug("once")

    assert capsys.readouterr().err.splitlines()[-1].endswith("logger=root msg=once")
    assert len(root.handlers) == 1


@pytest.mark.parametrize(
    ("level", "lines"),
    [
        ("debug", ["asyncio warn", "uvicorn.access info", "uvicorn.access warn"]),
        ("info", ["asyncio warn"]),
        ("error", []),
    ],
)
def test_libraries_say_less_than_the_exporter(
    root: logging.Logger, capsys: pytest.CaptureFixture[str], level: str, lines: list[str]
) -> None:
    """asyncio is never heard below warnings, uvicorn below errors only in debugging."""
    logs.setup(level, "json")

    for name in ("asyncio", "uvicorn.access"):
        for number in (logging.DEBUG, logging.INFO, logging.WARNING):
            if (name, number) != ("uvicorn.access", logging.DEBUG):
                logging.getLogger(name).log(number, "x")

    logged = map(json.loads, capsys.readouterr().err.splitlines())
    assert [f"{line['logger']} {line['level']}" for line in logged] == lines


def test_access_lines_have_the_level_of_all_others(
    root: logging.Logger, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asking for them does not bring what is below the level."""
    access = logging.getLogger("uvicorn.access")
    monkeypatch.setattr(access, "level", logging.INFO)
    for level, lines in (("error", 0), ("info", 1)):
        logs.setup(level, "json")
        access.info("GET /metrics")
        assert len(capsys.readouterr().err.splitlines()) == lines


def test_warnings_are_logged(root: logging.Logger, capsys: pytest.CaptureFixture[str]) -> None:
    """Python's warnings become lines of the log too."""
    logs.setup("info", "logfmt")

    logging.getLogger("py.warnings").warning("old call")

    assert 'level=warn logger=py.warnings msg="old call"' in capsys.readouterr().err
