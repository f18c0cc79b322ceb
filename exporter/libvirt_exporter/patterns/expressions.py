"""Regular expressions whose matching takes time in proportion to the text, whatever they say.

The configuration's expressions meet texts that tenants choose: names, metadata. The engine of
Python's `re` can be made to try for ever (`(\\w+\\s?)+-prod` on forty letters), and nothing can
interrupt it. RE2 cannot, and is what Prometheus uses for its own expressions. Its syntax:
https://github.com/google/re2/wiki/Syntax.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

LONGEST_TEXT: Final = 1024
"""Characters of a text that expressions are tried on: libvirt's names are file names, up to 255.

The dearest expression that RE2 takes costs 0.02 ms a character.
"""
_MEMORY: Final = 1 << 18
"""Bytes of one compiled expression, enough for 500 names as alternatives."""

Matcher = Callable[[str], bool]
"""Whether an expression matches the whole of a text of at most `LONGEST_TEXT` characters."""

_INSTEAD: Final = (
    (r"\(\?<?[=!]", "leave out look-around: what must not match can go into the other list"),
    (r"\\[1-9]|\(\?P=", "leave out back-references: write the alternatives out"),
    (r"\\[AZ]", r"leave out \A and \Z: an expression always matches the whole"),
    (r"\\[uUN]", r"write the character itself, or \x{e9} for é"),
    (r"[*+?}]\+|\(\?>", "leave out possessive and atomic groups: no expression takes long"),
    (r"\{\d+", "repeat 1000 times at most, nested repetitions multiplied"),
)
"""What RE2 does not know of Python's syntax, as it is found in an expression, and what to write."""
_TAKEN_LITERALLY: Final = re.compile(r"(?<!\\)(?:\\\\)*(\{(?:,\d+|\d{5,},?\d*|\d+,\d{5,})\})")
"""Repetitions to Python, but to RE2 these very characters, in silence."""


def compile_expression(text: str) -> Matcher:
    """Compile an expression of RE2's syntax; its `.` stands for a line break too.

    Raises ValueError, with a message for the author of the configuration, for anything else.
    """
    if found := _TAKEN_LITERALLY.search(text):
        reason = f"{found[1]} would not be a repetition; write {{0,n}}, with n up to 1000"
        raise ValueError(f"{text!r} is not a regular expression (RE2): {reason}")
    import re2  # takes 2 MiB, for which most configurations have no use

    options = re2.Options()
    options.log_errors = False
    options.never_capture = True
    options.dot_nl = True
    options.max_mem = _MEMORY
    try:
        expression = re2.compile(_encoded(text), options)
    except re2.error as error:
        reason = error.args[0].decode(errors="replace") if error.args else "not understood"
        instead = "".join(f"; {hint}" for found, hint in _INSTEAD if re.search(found, text))
        raise ValueError(f"{text!r} is not a regular expression (RE2): {reason}{instead}") from None

    def matches(value: str) -> bool:
        return expression.fullmatch(_encoded(value)) is not None

    return matches


def meant_by_shell_pattern(text: str) -> str:
    """Return the expression that a shell's pattern such as `web-*` means; '' for any other text.

    As an expression `web-*` is `web` with any number of hyphens behind it.
    """
    if not re.fullmatch(r"(?:[\w@-]|(?<!\.)\*|\.(?!\*))*", text) or "*" not in text:
        return ""
    return text.replace(".", r"\.").replace("*", ".*")


def _encoded(text: str) -> bytes:
    # libvirt-python decodes stray bytes of a name to lone surrogates; `.` must match them.
    return text.encode(errors="replace")
