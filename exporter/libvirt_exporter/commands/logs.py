"""Log lines for journald and log shippers: one event, one line, as logfmt or JSON on stderr."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

_LEVELS: Final[Mapping[str, int]] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
}


def setup(level: str, form: str) -> None:
    """Send what is at least `level` (a name of `config.Log`) to stderr in `form`.

    May be called again; the last call holds. Of asyncio only warnings and errors are written, of
    uvicorn only errors, unless the level is debug: then its access lines come, too.
    """
    handler = logging.StreamHandler()
    # The root's level does not apply to loggers that have their own, such as that of access lines.
    handler.setLevel(_LEVELS[level])
    handler.setFormatter({"logfmt": LogfmtFormatter, "json": JsonFormatter}[form]())
    logging.basicConfig(handlers=[handler], level=_LEVELS[level], force=True)
    logging.captureWarnings(True)
    logging.getLogger("asyncio").setLevel(max(logging.WARNING, _LEVELS[level]))
    logging.getLogger("uvicorn").setLevel(logging.NOTSET if level == "debug" else logging.ERROR)


class LogfmtFormatter(logging.Formatter):
    """`ts=… level=info logger=… msg="…"`, and `exception="…"` where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, whatever the message holds."""
        return " ".join(f"{key}={_logfmt(value)}" for key, value in _fields(self, record).items())


class JsonFormatter(logging.Formatter):
    """The same fields as an object, in ASCII."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, whatever the message holds."""
        return json.dumps(_fields(self, record))


def _fields(formatter: logging.Formatter, record: logging.LogRecord) -> dict[str, str]:
    time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
    fields = {
        "ts": time.replace("+00:00", "Z"),
        "level": next(
            (name for name, number in _LEVELS.items() if record.levelno <= number), "error"
        ),
        "logger": record.name,
        "msg": record.getMessage(),
    }
    if record.exc_info:
        fields["exception"] = formatter.formatException(record.exc_info)
    return fields


def _logfmt(value: str) -> str:
    if value and value.isprintable() and not set(value) & set(' ="\\'):
        return value
    # json.dumps leaves C1 controls, line separators and text direction marks as they are.
    quoted = json.dumps(value, ensure_ascii=False)
    return "".join(
        character if character.isprintable() else json.dumps(character)[1:-1]
        for character in quoted
    )
