"""What is left of a URI, and of a message about it, for everybody to read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libvirt_exporter.uri import redacted, without_secrets


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("qemu:///system", "qemu:///system"),
        ("test:///etc/libvirt/node.xml", "test:///etc/libvirt/node.xml"),
        ("qemu+tls://node7:16514/system", "qemu+tls://node7:16514/system"),
        ("qemu+ssh://root@node7/system", "qemu+ssh://***@node7/system"),
        ("esx://root:se@cret@node7/?no_verify=1", "esx://***@node7/?no_verify=1"),
        ("esx://root:se?c#ret@node7/", "esx://***@node7/"),
        (
            "qemu+ssh://node7/system?keyfile=/root/.ssh/id&no_tty=1;command=/run/x#y",
            "qemu+ssh://node7/system?keyfile=***&no_tty=1;command=***#***",
        ),
        (
            "qemu+tls://node7/system?pkipath=/etc/pki&flag",
            "qemu+tls://node7/system?pkipath=***&***",
        ),
        ("qemu+ssh//root:secret@node7/system", "qemu+ssh//***@node7/system"),
        ("root:secret@node7", "***@node7"),
        ("#a@//b@node7", "***@//***@node7"),
    ],
)
def test_only_what_is_harmless_is_shown(uri: str, shown: str) -> None:
    """Of what is no URI, too: it may be one with a mistake."""
    assert redacted(uri) == shown


def test_a_message_is_shown_without_the_secrets_of_its_uri() -> None:
    """libvirt and ssh repeat them one by one, and decoded."""
    uri = "qemu+ssh://ro%2Fot:secret@node7/system?keyfile=/root/id%20x&no_tty=1"
    text = f"cannot connect to {uri}: ro/ot@node7, secret, secretary, '/root/id x', 1"
    assert without_secrets(text, uri) == (
        "cannot connect to qemu+ssh://***@node7/system?keyfile=***&no_tty=1: "
        "***@node7, ***, secretary, '***', 1"
    )


@given(st.text("ab/:@?&=#% é", max_size=30))
def test_any_text_can_be_redacted(uri: str) -> None:
    """Once is enough, and nothing stays before an @ of the first part."""
    assert redacted(redacted(uri)) == redacted(uri)
    assert "secret" not in redacted(f"qemu+ssh://secret:secret@{uri}")
    assert "secret" not in without_secrets(f"x {uri} x", f"qemu://secret@{uri}")
