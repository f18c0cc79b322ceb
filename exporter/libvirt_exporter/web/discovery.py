"""The served targets as Prometheus' HTTP service discovery takes them."""

from __future__ import annotations

from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from libvirt_exporter.query.fields.field import encoded
from libvirt_exporter.web.service import Service

TARGETS: Final = "/api/v1/targets"


class Discovery:
    """Answers with what is to be scraped."""

    def __init__(self, service: Service, probe: str) -> None:
        """`probe`: the path of the route that scrapes a target."""
        self._service = service
        self._probe = probe

    async def targets(self, request: Request) -> Response:
        """A group for each target: this exporter's address, and labels that make it a probe.

        So a job needs no relabelling: `__address__` is the one by which Prometheus asked, and
        `instance` the alias.
        """
        address = request.headers.get("Host") or request.url.netloc
        groups = [
            {
                "targets": [address],
                "labels": {
                    **target.labels,
                    "__metrics_path__": self._probe,
                    "__param_target": alias,
                    "instance": alias,
                },
            }
            for alias, target in self._service.config.targets.items()
        ]
        return _json(groups)


def _json(content: Any) -> Response:
    headers = {"Cache-Control": "no-store"}
    return Response(encoded(content), headers=headers, media_type="application/json")
