"""One sample → one HTTP body: the scrape's own families, the exporter's metrics, the domains."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics import exposition as openmetrics

from libvirt_exporter.contract import Exposition
from libvirt_exporter.model import HostSample
from libvirt_exporter.pieces import pieces
from libvirt_exporter.render.scrape import Families, scrape_families
from libvirt_exporter.render.text import DomainText

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

_END = b"# EOF\n"
# Level 1 takes a ninth of level 9's time for a body a seventh larger (measured on 14 MB).
_GZIP_LEVEL = 1
_GZIP_FORMAT = 16 + zlib.MAX_WBITS
_COMPRESSED_AT_ONCE = 2**20
"""Bytes. zlib lets go of the interpreter's lock for each call, and may wait 5 ms to get it back."""


def expose(
    sample: HostSample,
    domains: DomainText,
    own: CollectorRegistry | None = None,
    *,
    series_limit: int = 0,
    hidden: int = 0,
    as_openmetrics: bool = False,
    compress: bool = False,
) -> Exposition:
    """The complete body; `domains` is the rendering of the sample's (filtered) domains.

    `own` holds the metrics of the process and comes between the scrape's and the domains'.
    `hidden` is the number of domains that could not be placed for want of their XML.
    """
    generate = openmetrics.generate_latest if as_openmetrics else generate_latest
    scrape = CollectorRegistry(auto_describe=False)
    scrape.register(Families(scrape_families(sample, domains.tally, series_limit, hidden)))
    parts = [generate(registry) for registry in (scrape, own) if registry is not None]
    if as_openmetrics:
        parts = [part.removesuffix(_END) for part in parts]
    parts += domains.parts(openmetrics=as_openmetrics)
    if as_openmetrics:
        parts.append(_END)
    return _exposition(parts, as_openmetrics=as_openmetrics, compress=compress)


def expose_own(
    own: CollectorRegistry, *, as_openmetrics: bool = False, compress: bool = False
) -> Exposition:
    """The complete body of an exporter that has no sample to show."""
    generate = openmetrics.generate_latest if as_openmetrics else generate_latest
    return _exposition([generate(own)], as_openmetrics=as_openmetrics, compress=compress)


def _exposition(parts: Iterable[bytes], *, as_openmetrics: bool, compress: bool) -> Exposition:
    return Exposition(
        parts=tuple(_compressed(parts) if compress else parts),
        content_type=OPENMETRICS if as_openmetrics else TEXT,
        content_encoding="gzip" if compress else "",
    )


def _compressed(parts: Iterable[bytes]) -> Iterator[bytes]:
    compressor = zlib.compressobj(_GZIP_LEVEL, wbits=_GZIP_FORMAT)
    yield from map(compressor.compress, pieces(parts, _COMPRESSED_AT_ONCE))
    yield compressor.flush()
