"""The command `vms`: the VMs of a host as a table or as JSON, once or again and again."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from argparse import Namespace

from msgspec.structs import replace

from libvirt_exporter.commands import vms_table
from libvirt_exporter.commands.once import run_with_target
from libvirt_exporter.commands.output import columns, failed, printable, show
from libvirt_exporter.contract import QueryRequest, RequestError, UnavailableError
from libvirt_exporter.query.overview import ASKS
from libvirt_exporter.service.target import Target


def vms(arguments: Namespace) -> int:
    """Print the VMs."""
    if arguments.json:
        if arguments.names:
            return failed("vms --json prints all VMs; remove the names")
        request = QueryRequest(fields=arguments.fields, strict=True)
        return run_with_target(
            arguments, lambda target: _show_fields(target, request, arguments.watch)
        )
    colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    look = vms_table.Look(None, arguments.sort, arguments.names, colour)
    return run_with_target(arguments, lambda target: _show_table(target, look, arguments.watch))


async def _show_table(target: Target, look: vms_table.Look, watch: float | None) -> int:
    before = target.shown(await target.sample(ASKS))
    # The first table follows soon, for whoever watches too.
    await asyncio.sleep(1.0 if before.up else 0.0)
    while True:
        now = target.shown(await target.sample(ASKS))
        if watch is None and not now.up:
            return failed(now.error)
        if watch is not None and sys.stdout.isatty():
            # To the upper left corner, and everything from there on cleared.
            show("\x1b[H\x1b[J")
        show(
            vms_table.text(before, now, look._replace(width=columns()))
            if now.up
            else f"{printable(now.error)}\n"
        )
        if watch is None:
            return 0
        before = now
        await asyncio.sleep(watch)


async def _show_fields(target: Target, request: QueryRequest, watch: float | None) -> int:
    while True:
        status = 0
        try:
            answer = json.loads((await target.query(request, anew=True)).body)
        except UnavailableError as error:
            status = failed(error.reason or error.message)
        except RequestError as error:
            return failed(f"{error.message}; {error.hint}" if error.hint else error.message)
        else:
            if answer["full"] or answer["dataList"] or answer["removed"]:
                # Only ASCII: names could command the terminal.
                show(f"{json.dumps(answer)}\n")
            request = replace(request, changed_since=answer["queryStamp"])
        if watch is None:
            return status
        await asyncio.sleep(watch)
