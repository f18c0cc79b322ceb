"""The process of a command: its signals, its event loop and its end."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import signal
from collections.abc import Coroutine
from typing import Any, Final, NoReturn

from libvirt_exporter.commands.output import OutputError, failed
from libvirt_exporter.config import ConfigError
from libvirt_exporter.web.listening import ListenError

FAILURES: Final = (ConfigError, ListenError, OutputError)
"""What a command may fail with, in words for a person."""

_OPEN_FILES: Final = 65536
"""Files that may be open: clients, connections to libvirt, XML of domains being read."""


def unblock_signals() -> None:
    """Let through the signals that wait since the process began (`__main__`)."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM, signal.SIGINT, signal.SIGHUP))


def raise_file_limit() -> None:
    """Allow as many open files as the hard limit does, up to 65536."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def run(work: Coroutine[Any, Any, int | None]) -> NoReturn:
    """Run the work on an event loop, then end the process with the status that it returns.

    An ordinary exit would wait for threads that are stuck in libvirt.
    """
    status = 1
    try:
        status = asyncio.new_event_loop().run_until_complete(work) or 0
    except FAILURES as error:
        failed(error)
    except KeyboardInterrupt:
        status = 130
    except Exception:
        # The last boundary: os._exit would swallow it.
        logging.getLogger(__name__).exception("failed unexpectedly")
    finally:
        logging.shutdown()
        os._exit(status)
