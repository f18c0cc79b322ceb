"""What every suite shares: how hypothesis works, and signals as a terminal has them."""

import os
import signal

import pytest
from hypothesis import settings

# A loaded machine is slow, which is no failure; in CI the same examples come every time.
settings.register_profile("default", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "default")

# Who starts the tests in the background may have them ignore it, and what they start with them.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Coroutines that are marked `anyio` run under asyncio."""
    return "asyncio"
