"""When certificates expire, which Python's ssl module shows of CAs and of verified peers only."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

_PEM: Final = re.compile(
    rb"-----BEGIN (?:X509 |TRUSTED )?CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END", re.ASCII
)
_VERSION: Final = 0xA0
_UTC_TIME: Final = 0x17
_PIVOT: Final = 50
"""Years of two digits from here on are of the 20th century (RFC 5280, 4.1.2.5.1)."""


def not_after(certificates: bytes) -> float:
    """Unix time at which the first of these certificates, a PEM text, expires.

    ValueError when they cannot be read.
    """
    try:
        return min(_not_after(base64.b64decode(pem)) for pem in _PEM.findall(certificates))
    except LookupError as error:
        raise ValueError("cut off") from error


def _not_after(der: bytes) -> float:
    # RFC 5280, 4.1: Certificate { TBSCertificate { [version], serialNumber, signature, issuer,
    # validity { notBefore, notAfter }, …
    [(_, certificate), *_] = _elements(der)
    [(_, signed), *_] = _elements(certificate)
    fields = [element for element in _elements(signed) if element[0] != _VERSION]
    (_, validity) = fields[3]
    _, (kind, moment) = _elements(validity)
    text = moment.decode()
    if kind == _UTC_TIME:
        text = ("19" if int(text[:2]) >= _PIVOT else "20") + text
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()


def _elements(der: bytes) -> Iterator[tuple[int, bytes]]:
    """Tags and contents of the elements that follow each other (X.690, definite lengths)."""
    at = 0
    while at < len(der):
        tag, length = der[at], der[at + 1]
        at += 2
        if length & 0x80:
            octets = length & 0x7F
            length = int.from_bytes(der[at : at + octets])
            at += octets
        yield tag, der[at : at + length]
        at += length
