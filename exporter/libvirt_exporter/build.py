"""Which commit this was built from. `git archive` and hatch_build.py fill the texts in `$`."""

import re
from typing import Final


def commit(text: str) -> str:
    """The commit that `%H` of git gives; '' where nobody filled it in, as in a checkout."""
    return "" if text.startswith("$") else text


def ref(text: str) -> str:
    """The tag, or else the branch, among what `%D` of git gives; '' where it has none."""
    found = re.search(r"\btag: ([^,]+)", text) or re.search(r"\bHEAD -> ([^,]+)", text)
    return found[1] if found else ""


REVISION: Final = commit("$Format:%H$")
"""40 hexadecimal digits, with -dirty behind where files differ from that commit; or ''."""
BRANCH: Final = ref("$Format:%D$")
"""The tag or branch that was built; or ''."""
