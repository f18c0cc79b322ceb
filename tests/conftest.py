"""What every suite shares: how hypothesis works."""

import os

from hypothesis import settings

# A loaded machine is slow, which is no failure; in CI the same examples come every time.
settings.register_profile("default", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "default")
