"""What all pages have in common: the frame, the style, and how numbers are written."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping
from html import escape
from typing import Final, NamedTuple
from urllib.parse import quote

from libvirt_exporter.web.target_parameter import PROBE, TARGET

_STYLE: Final = """
:root { color-scheme: light dark; --dim: #6b7280; --line: #8883; --bad: #c2410c; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 80rem; margin: 1.5rem auto;
  padding: 0 1rem; }
h1 { font-size: 1.4rem; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 1.1rem; margin: 1.5rem 0 0; }
p { margin: .5rem 0; }
nav a { margin-right: 1rem; }
form { margin: 1rem 0 0; display: flex; flex-wrap: wrap; gap: .5rem; align-items: center; }
input, button { font: inherit; padding: .2rem .5rem; }
input { min-width: 0; flex: 0 1 15rem; }
.dim { color: var(--dim); overflow-wrap: anywhere; }
.problem { border-left: 4px solid var(--bad); padding: .4rem .8rem; overflow-wrap: anywhere; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; margin-top: 1rem; }
th, td { padding: .3rem .6rem; text-align: left; border-bottom: 1px solid var(--line);
  vertical-align: top; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.vm { overflow-wrap: anywhere; }
.state { white-space: nowrap; }
.state::before { content: "\\25CF"; margin-right: .4rem; color: var(--dim); }
.running::before { color: #16a34a; }
.paused::before, .blocked::before { color: #d97706; }
.crashed::before { color: #dc2626; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; margin: .5rem 0; }
dt { color: var(--dim); }
dd { margin: 0; overflow-wrap: anywhere; }
@media (max-width: 48rem) {
  .vms thead tr { display: flex; flex-wrap: wrap; gap: .2rem .9rem; }
  .vms th { border: 0; padding: 0; }
  .vms th:last-child { display: none; }
  .vms tbody tr { display: grid; grid-template-columns: 4fr 6fr; gap: .1rem 1rem;
    padding: .6rem 0; border-bottom: 1px solid var(--line); }
  .vms td { display: flex; justify-content: space-between; gap: .6rem; border: 0; padding: 0;
    white-space: normal; }
  .vms td[data-label]::before { content: attr(data-label); color: var(--dim); }
  .vms td.vm { grid-column: 1 / -1; display: block; font-weight: 600; }
  .vms td.state { justify-content: start; gap: 0; }
  .vms td.problems { grid-column: 1 / -1; overflow-wrap: anywhere; }
  .vms td:empty { display: none; }
}
"""
_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

CONTENT_SECURITY_POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
"""Nothing but the pages' own style sheet, and the form that searches."""

UNKNOWN: Final = "–"
"""What stands where libvirt does not say."""


def page(title: str, body: str, *, again: int | None = None) -> bytes:
    """A page as UTF-8; `body` is HTML, `title` is not. `again`: seconds until it is loaded anew."""
    refresh = "" if again is None else f'<meta http-equiv="refresh" content="{again}">\n'
    html = f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
{refresh}<title>{escape(title)}</title>
<style>{_STYLE}</style>
</head>
<body>
{body}
</body>
</html>
"""
    # A name may hold lone surrogates: libvirt-python decodes stray bytes to them.
    return html.encode(errors="replace")


def link(path: str, text: str, parameters: Mapping[str, str] | None = None) -> str:
    """A link to a path of this server; neither part is HTML yet."""
    query = "&".join(f"{name}={_quoted(value)}" for name, value in (parameters or {}).items())
    address = quote(path, errors="replace") + (f"?{query}" if query else "")
    return f'<a href="{escape(address)}">{escape(text)}</a>'


def _quoted(value: str) -> str:
    return quote(value, safe="", errors="replace")


class Place(NamedTuple):
    """The host that a page is about, and where its other pages are."""

    name: str
    """What people call it."""
    telemetry_path: str
    alias: str = ""
    """'' for the default host."""
    one_of_several: bool = False

    @property
    def parameters(self) -> dict[str, str]:
        """What names the host in an address; nothing where there is no other one."""
        return {TARGET: self.alias} if self.alias or self.one_of_several else {}

    def vms(self, text: str, parameters: Mapping[str, str] | None = None) -> str:
        """A link to the page of its VMs."""
        return link("/", text, {**self.parameters, **(parameters or {})})

    def vm(self, text: str, uuid: str) -> str:
        """A link to the page of a VM."""
        return link(f"/vms/{uuid}", text, self.parameters)

    def metrics(self, parameters: Mapping[str, str] | None = None) -> str:
        """A link to its metrics, or to those of one VM."""
        path = PROBE if self.alias else self.telemetry_path
        target = {TARGET: self.alias} if self.alias else {}
        return link(path, "Metrics", {**target, **(parameters or {})})

    def api(self, path: str, text: str, parameters: Mapping[str, str] | None = None) -> str:
        """A link to what the API says of it."""
        target = {TARGET: self.alias} if self.alias else {}
        return link(path, text, {**target, **(parameters or {})})


def problems(texts: Iterable[str]) -> str:
    """A paragraph for each thing that is wrong."""
    return "\n".join(f'<p class="problem">{escape(text)}</p>' for text in texts)


def size(amount: float | None, unit: str = "") -> str:
    """Bytes in the binary unit that keeps the number short; `unit` follows it, as `/s`."""
    if amount is None:
        return UNKNOWN
    for prefix in ("", "Ki", "Mi", "Gi"):
        if amount < 999.5:
            return f"{amount:.3g} {prefix}B{unit}"
        amount /= 1024
    return f"{amount:.3g} TiB{unit}"


def percent(cpus: float | None) -> str:
    """CPUs in use; 100 % is one of the host's."""
    return UNKNOWN if cpus is None else f"{cpus:.0%}" if cpus >= 0.1 else f"{cpus:.1%}"


def number(value: float | None, unit: str = "") -> str:
    """An integer as it is, another number to three digits; `unit` follows at once."""
    if value is None:
        return UNKNOWN
    text = str(value) if isinstance(value, int) else f"{value:.3g}"
    if "e" in text:
        text = f"{value:.0f}"
    return f"{text}{unit}"
