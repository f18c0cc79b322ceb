"""When certificates expire, read from what openssl made."""

from __future__ import annotations

import base64
import contextlib
import math
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libvirt_exporter.web.security.expiry import not_after

UTC_TIME: Final = b"""
-----BEGIN CERTIFICATE-----
MIIBmTCCAT+gAwIBAgIUXhu6ICPh6AsexJkDOV4/iY1GPukwCgYIKoZIzj0EAwIw
IjENMAsGA1UECgwEdGVzdDERMA8GA1UEAwwIdXRjIHRpbWUwHhcNMjYxMTI5MjI1
MjE3WhcNMzYxMTI2MjI1MjE3WjAiMQ0wCwYDVQQKDAR0ZXN0MREwDwYDVQQDDAh1
dGMgdGltZTBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABBn2m6itB13FSX8AvnQs
S5zqd3yHZBVfJiUiyxyJ1U12zRJcFHlERPk4O7FeVz6e3oxMCMv6sxf1SROfC8D7
vu2jUzBRMB0GA1UdDgQWBBT1gmIUM6DVphy5FKUQR9qo8hhKSTAfBgNVHSMEGDAW
gBT1gmIUM6DVphy5FKUQR9qo8hhKSTAPBgNVHRMBAf8EBTADAQH/MAoGCCqGSM49
BAMCA0gAMEUCIAkl/hYIZDCr09oouUtifnrApIoj36fWT3YxYanLDYwZAiEAvMok
UdxeG/fHN2xQcM8fV6DEODuIcd9YaOGPJgHDWF8=
-----END CERTIFICATE-----
"""
"""Until 2036; years up to 2049 are written in two digits."""
GENERALIZED_TIME: Final = b"""
-----BEGIN CERTIFICATE-----
MIIBjTCCATOgAwIBAgIUBLPejYcpFjM3HA9/qeHBxzgAdP0wCgYIKoZIzj0EAwIw
GzEZMBcGA1UEAwwQZ2VuZXJhbGl6ZWQgdGltZTAgFw0yNjExMjkyMjUyMTdaGA8y
MDgxMDkwMTIyNTIxN1owGzEZMBcGA1UEAwwQZ2VuZXJhbGl6ZWQgdGltZTBZMBMG
ByqGSM49AgEGCCqGSM49AwEHA0IABA8wCueEYef4uVolEMGslsFDxXYvC5So2UgC
EEu5UOfyGUwGzabTnaKtTQwbg6NItuZdnNTBpGgI1DsSMQNLEjijUzBRMB0GA1Ud
DgQWBBSpGCLr50Hy0pmBxrgx+c+xUKWAdDAfBgNVHSMEGDAWgBSpGCLr50Hy0pmB
xrgx+c+xUKWAdDAPBgNVHRMBAf8EBTADAQH/MAoGCCqGSM49BAMCA0gAMEUCIQCq
kfk3uastG8m/5cIbEiRAdWMqBWvZcQygmWqRxuRbOQIgXwIsGCqD5NP54xnpMng/
OBzR/JsG4+CdaDCQyjuygYo=
-----END CERTIFICATE-----
"""
"""Until 2081."""
VERSION_1: Final = b"""
-----BEGIN CERTIFICATE-----
MIIBIjCByQIUHYkMHdLm9DTnc8wF2KIV0egLtxowCgYIKoZIzj0EAwIwFDESMBAG
A1UEAwwJdmVyc2lvbiAxMB4XDTI2MTEyOTIyNTIxN1oXDTI3MDMwOTIyNTIxN1ow
FDESMBAGA1UEAwwJdmVyc2lvbiAxMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE
e8ZzbZZ3N6jGSENN8Ey7+8ibv01Iuc6JoPkcmmUT8pBrpRQtXfBENb/dwflF4JZi
wxyQNS2ZVYkpTJw6GIWhNjAKBggqhkjOPQQDAgNIADBFAiBJ4szDyq+B+okTdB41
R2qcArSlkEPcKKjN52w2DS+ZPAIhAIT73fmS4iZGMmS/a3gCAR/lPKo6alpVIh6g
A+VWPCqT
-----END CERTIFICATE-----
"""
"""Until 2027; has no field for its version."""


@pytest.mark.parametrize(
    ("certificates", "expires"),
    [
        (UTC_TIME, 2111352737),
        (GENERALIZED_TIME, 3523992737),
        (VERSION_1, 1804632737),
        (GENERALIZED_TIME + b"\nintermediate\n" + UTC_TIME, 2111352737),
        (UTC_TIME.replace(b"\n", b"\r\n"), 2111352737),
        (UTC_TIME.replace(b" CERT", b" TRUSTED CERT"), 2111352737),
    ],
    ids=["two digits", "four digits", "version 1", "chain", "CRLF", "trusted"],
)
def test_the_end_is_that_which_openssl_tells(certificates: bytes, expires: float) -> None:
    """Of several the first end counts, wherever it stands."""
    assert not_after(certificates) == expires


def test_a_text_without_certificates_has_no_end() -> None:
    """As a file with a key only."""
    with pytest.raises(ValueError, match=r"empty"):
        not_after(b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")


DER: Final = base64.b64decode(b"".join(UTC_TIME.split(b"-----")[2].split()))


@given(st.binary() | st.integers(0, len(DER)).map(lambda size: DER[:size]))
def test_what_is_no_certificate_has_an_end_or_none(der: bytes) -> None:
    """No other error comes of it, and it ends."""
    pem = b"-----BEGIN CERTIFICATE-----\n%b\n-----END CERTIFICATE-----" % base64.b64encode(der)
    with contextlib.suppress(ValueError):
        assert math.isfinite(not_after(pem))
