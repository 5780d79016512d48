"""The three lines on top: slow? unstable gradients? sensitive to initialization?"""

from __future__ import annotations

from normwise.diagnose.facts import Facts
from normwise.results.diagnosis import Vital


def vitals(facts: Facts) -> tuple[Vital, ...]:
    """Each with a number, or why it was not measured."""
    why = "needs a short training (--data)"
    return (
        Vital("slow?", "not measured", why),
        Vital("unstable gradients?", "not measured", why),
        Vital("sensitive to initialization?", "not measured", why),
    )
