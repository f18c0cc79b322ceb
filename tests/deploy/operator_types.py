"""Says what the Prometheus operator's types do not take of the resources in a YAML file.

Run by itself, in an environment that has them: they would bring a plugin of pytest along.
"""

import sys
from collections.abc import Iterator
from typing import Any

import yaml
from cloudcoil.models.prometheus_operator import v1


def unknown(given: Any, taken: Any, path: str) -> Iterator[str]:
    """Paths of what is in `given` and not in `taken`."""
    if isinstance(given, dict) and isinstance(taken, dict):
        for key, value in given.items():
            if key in taken:
                yield from unknown(value, taken[key], f"{path}.{key}")
            else:
                yield f"{path}.{key}"
    elif isinstance(given, list) and isinstance(taken, list) and len(given) == len(taken):
        for number, (one, other) in enumerate(zip(given, taken, strict=True)):
            yield from unknown(one, other, f"{path}[{number}]")
    elif given != taken:
        yield path


mistakes: list[str] = []
with open(sys.argv[1], encoding="utf-8") as file:
    for resource in yaml.safe_load_all(file):
        kind = resource["kind"]
        read = getattr(v1, kind).model_validate(resource)
        taken = read.model_dump(mode="json", by_alias=True, exclude_none=True)
        mistakes += unknown(resource, taken, kind)
print("\n".join(mistakes), end="")
sys.exit(bool(mistakes))
