"""Label values: cleaned, cut and escaped for the exposition formats."""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache

Labels = tuple[tuple[str, str], ...]

# No string of libvirt's holds a NUL (they are C strings), and some consumers end at one.
_UNFIT = re.compile("[\ud800-\udfff\0]")
_HASH_LENGTH = 8


@lru_cache(maxsize=4096)
def clean(value: str, limit: int) -> str:
    """A value fit for a label: lone surrogates replaced, at most `limit` bytes of UTF-8.

    What is cut ends in `~` and a short hash of the whole, so that two long names stay two.
    """
    value = _UNFIT.sub("\ufffd", value)
    if len(value) * 4 <= limit:
        return value
    data = value.encode()
    if len(data) <= limit:
        return value
    digest = hashlib.sha256(data).hexdigest()[:_HASH_LENGTH]
    return data[: limit - _HASH_LENGTH - 1].decode(errors="ignore") + "~" + digest


def escape(value: str) -> str:
    """A label value or OpenMetrics HELP text as it stands between quotes."""
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def escape_help(text: str) -> str:
    """A HELP text of the text format 0.0.4, where quotes stand for themselves."""
    return text.replace("\\", r"\\").replace("\n", r"\n")


@lru_cache(maxsize=4096)
def render(labels: Labels) -> str:
    """`domain="a",uuid="…"`: what stands between the braces."""
    return ",".join(f'{name}="{escape(value)}"' for name, value in labels)
