"""What differs between two configurations."""

from __future__ import annotations

from msgspec import Struct, structs

from libvirt_exporter.config.schema import Config


def changed_keys(before: Config, after: Config) -> list[str]:
    """Return the options that differ, in the schema's order: `["web.listen", "targets"]`."""
    changed = []
    for section in structs.fields(Config):
        old, new = getattr(before, section.name), getattr(after, section.name)
        if isinstance(old, Struct):
            changed += [
                f"{section.name}.{option}"
                for option, value in structs.asdict(old).items()
                if value != getattr(new, option)
            ]
        elif old != new:
            changed.append(section.name)
    return changed
