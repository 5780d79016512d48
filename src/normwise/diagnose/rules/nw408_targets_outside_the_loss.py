"""Targets that a binary cross-entropy is not made for."""

from __future__ import annotations

from collections.abc import Iterator

from normwise.diagnose.facts import Facts
from normwise.diagnose.rule import Found, Rule
from normwise.results.diagnosis import Evidence


def _check(facts: Facts) -> Iterator[Found]:
    scoring = facts.scoring
    if scoring is None or scoring.stray is None:
        return
    share, low, high = scoring.stray
    yield Found(
        "",
        f"binary cross-entropy takes targets from 0 to 1; {100 * share:.3g} % are not: they lie between {low:g} and "
        f"{high:g}",
        0.98,
        (Evidence("targets below 0 or above 1", 100 * share, "none", "%"),),
        remedy="code the two classes as 0 and 1",
        code_lines=("y = (y == y.max()).float()",),
    )


RULE = Rule(
    code="NW408",
    name="targets-outside-the-loss",
    summary="Targets of a binary cross-entropy that are not between 0 and 1, as -1 and +1 or 1 and 2.",
    why=(
        "-y log p - (1 - y) log(1 - p) has its least value at p = y only for y from 0 to 1. For others it has no least "
        "value at all: the outputs run away, and the loss falls below zero for ever."
    ),
    bad="loss = F.binary_cross_entropy_with_logits(model(x), y)  # y is -1 or +1",
    good="loss = F.binary_cross_entropy_with_logits(model(x), (y > 0).float())",
    check=_check,
    needs=frozenset({"batch"}),
    explains=frozenset({"NW502", "NW506", "NW508", "NW509", "NW510", "NW512"}),
    source="the expectation of a Bernoulli variable's negative log-likelihood",
)
