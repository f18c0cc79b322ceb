"""Certificates for tests."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path

NEW_KEY = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"


class Authority:
    """A certificate authority in a directory, by the openssl command."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._openssl(f"req -x509 {NEW_KEY} -subj /CN=authority -keyout ca.key -out ca.crt")

    def issue(self, name: str, san: str, *, cn: str = "test", days: int = 2) -> tuple[str, str]:
        """Paths of a new certificate and its key."""
        crt, key, config = f"{name}.crt", f"{name}.key", self.directory / f"{name}.cnf"
        config.write_text(f"subjectAltName={san}\n")
        self._openssl(f"req {NEW_KEY} -subj /CN={cn} -keyout {key} -out request.csr")
        self._openssl(
            f"x509 -req -in request.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days {days} "
            f"-extfile {config.name} -out {crt}"
        )
        return str(self.directory / crt), str(self.directory / key)

    def _openssl(self, arguments: str) -> None:
        subprocess.run(
            ["openssl", *arguments.split()], cwd=self.directory, check=True, capture_output=True
        )

    def client(self, certificate: tuple[str, str] | None = None) -> ssl.SSLContext:
        """What a client needs to trust this authority, and to show a certificate of it."""
        context = ssl.create_default_context(cafile=str(self.directory / "ca.crt"))
        if certificate:
            context.load_cert_chain(*certificate)
        return context
