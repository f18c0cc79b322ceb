"""What unit tests of several modules start from."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest


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
