"""The routes of the pages for people."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Hashable
from functools import partial
from typing import Final, NamedTuple

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from libvirt_exporter.contract import NotFoundError, normalised_uuid
from libvirt_exporter.query.overview import Overview
from libvirt_exporter.shared import Shared
from libvirt_exporter.web.bodies import Bodies, PiecewiseResponse
from libvirt_exporter.web.connected import while_connected
from libvirt_exporter.web.pages.fleet import Standing, fleet
from libvirt_exporter.web.pages.frame import CONTENT_SECURITY_POLICY, Place
from libvirt_exporter.web.pages.vm_list import View, vm_list
from libvirt_exporter.web.pages.vm_page import vm_page
from libvirt_exporter.web.service import Service
from libvirt_exporter.web.target_parameter import TARGET, only_target

_MOST: Final = 16
"""Pages of one overview that are kept."""


class _Kept(NamedTuple):
    """What was made of the overview of one host."""

    overview: Overview
    pages: dict[Hashable, bytes]
    """The one that was made last comes last."""


class Pages:
    """Answers with the pages, each of which is made once for each overview."""

    def __init__(self, service: Service, telemetry_path: str, bodies: Bodies) -> None:
        self._service = service
        self._telemetry_path = telemetry_path
        self._bodies = bodies
        self._making = Shared[bytes]()
        self._kept: dict[str, _Kept] = {}
        """By the alias of the host."""

    def routes(self) -> list[Route]:
        """The page of all VMs, or of all hosts where there are several; and those of each VM."""
        return [Route("/", self.front), Route("/vms/{uuid}", self.vm)]

    async def front(self, request: Request) -> Response:
        """The list of hosts, which samples none; or the VMs of the only one, or of `target`."""
        if self._several and TARGET not in request.query_params:
            standings = [self._standing(alias) for alias in sorted(self._service.aliases)]
            return self._answer(fleet(standings, self._telemetry_path, time.time()))
        overview, place = await self._look(request)
        view = View.asked(request.query_params)
        make = partial(vm_list, overview, view, place)
        return self._answer(await self._once(overview, place, view, make))

    async def vm(self, request: Request) -> Response:
        """One VM of the default host, or of `target`."""
        overview, place = await self._look(request)
        uuid = normalised_uuid(request.path_params["uuid"])
        domain = next((found for found in overview.sample.domains if found.uuid == uuid), None)
        if domain is None:
            raise NotFoundError("There is no such VM.", "The page of all VMs is at /.")
        make = partial(vm_page, overview, domain, place)
        return self._answer(await self._once(overview, place, uuid, make))

    @property
    def _several(self) -> bool:
        return bool(self._service.aliases - {""})

    def _standing(self, alias: str) -> Standing:
        target = self._service.target(alias)
        latest = target.latest
        return Standing(alias, target.name, None if latest is None else target.shown(latest))

    async def _look(self, request: Request) -> tuple[Overview, Place]:
        """The host that is asked for, of late."""
        alias = only_target(request.query_params)
        target = self._service.target(alias)
        overview = await while_connected(request, target.overview())
        return overview, Place(target.name, self._telemetry_path, alias, self._several)

    async def _once(
        self, overview: Overview, place: Place, what: Hashable, make: Callable[[], bytes]
    ) -> bytes:
        # The work keeps the overview, whose id is in the key.
        key = id(overview), place, what
        return await self._making.get(key, lambda: self._made(overview, place, what, make))

    async def _made(
        self, overview: Overview, place: Place, what: Hashable, make: Callable[[], bytes]
    ) -> bytes:
        kept = self._kept.get(place.alias)
        if kept is None or kept.overview is not overview:
            kept = self._kept[place.alias] = _Kept(overview, {})
        pages, key = kept.pages, (place, what)
        if key not in pages:
            pages[key] = await asyncio.to_thread(make)
            if len(pages) > _MOST:
                del pages[next(iter(pages))]
        return pages[key]

    def _answer(self, html: bytes) -> Response:
        headers = {
            "Content-Type": "text/html; charset=utf-8",
            "Content-Security-Policy": CONTENT_SECURITY_POLICY,
        }
        return PiecewiseResponse(html, self._bodies, headers=headers, held=contextlib.ExitStack())
