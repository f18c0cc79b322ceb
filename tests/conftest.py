"""What every suite shares: how hypothesis works, signals as a terminal has them, fixtures."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator

import pytest
from hypothesis import settings

# A loaded machine is slow, which is no failure. `make check` takes `dev`, by pytest's option
# --hypothesis-profile; everything else all examples, and CI the same ones every time.
settings.register_profile("full", deadline=None)
settings.register_profile("dev", deadline=None, max_examples=10)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "full")

# Who starts the tests in the background may have them ignore it, and what they start with them.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Coroutines that are marked `anyio` run under asyncio."""
    return "asyncio"


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    """The root logger; it and what else `logs.setup` changes are restored afterwards."""
    root = logging.getLogger()
    handlers = root.handlers[:]
    loggers = [root, logging.getLogger("asyncio"), logging.getLogger("uvicorn")]
    levels = [logger.level for logger in loggers]
    yield root
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)
