"""How busy something is at a moment, and how much it has done since another one."""

from __future__ import annotations

from math import cos, sin, tau
from typing import Final, NamedTuple

DAY: Final = 86_400.0
_QUIETEST: Final = 2 * 3600.0
"""Second of the day (UTC) at which least is done; most is done 12 hours later."""


class Load(NamedTuple):
    """Work per second that follows the hour of the day, and moves up and down over minutes.

    A function of Unix time alone, so that all processes that look at one moment see the same.
    """

    mean: float
    daily: float = 0.6
    """How far the hour moves it, as a share of the mean. Both shares together are below 1."""
    wave: float = 0.25
    """How far it moves within minutes."""
    period: float = 170.0
    """Seconds of one such move."""
    shift: float = 0.0
    """Seconds by which the moves are late."""

    def at(self, when: float) -> float:
        """Work per second at a moment."""
        day = -cos(tau * (when - _QUIETEST) / DAY)
        minutes = sin(tau * (when - self.shift) / self.period)
        return self.mean * (1 + self.daily * day + self.wave * minutes)

    def done(self, since: float, until: float) -> float:
        """Work from one moment to another: the integral of `at`."""
        return self._done(until) - self._done(since)

    def _done(self, when: float) -> float:
        day = -sin(tau * (when - _QUIETEST) / DAY) * DAY / tau
        minutes = -cos(tau * (when - self.shift) / self.period) * self.period / tau
        return self.mean * (when + self.daily * day + self.wave * minutes)
