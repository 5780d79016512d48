"""Answers that depend on who else is in the batch."""

from __future__ import annotations

from collections.abc import Iterator

from normwise.diagnose.facts import Facts
from normwise.diagnose.rule import Found, Rule


def _check(facts: Facts) -> Iterator[Found]:
    if not facts.mixes:
        return
    yield Found(
        "",
        "in evaluation the output of one sample changes with the other samples of its batch",
        0.95,
        remedy="look for a softmax or mean over axis 0, a view or reshape that crosses samples, a transposition "
        "without its way back, and recurrent layers or attention that should have batch_first=True",
    )


RULE = Rule(
    code="NW114",
    name="samples-mixed",
    summary="The answer for a sample depends on the other samples of its batch.",
    why=(
        "An operation along the batch's axis, or a reshape that lets the numbers of several samples run into each "
        "other, raises no error. The network learns a little from what is left, or nothing."
    ),
    bad="return torch.softmax(self.head(x), dim=0)",
    good="return torch.softmax(self.head(x), dim=1)",
    check=_check,
    needs=frozenset({"batch"}),
    explains=frozenset({"NW503", "NW507", "NW509", "NW510"}),
    source="Karpathy 2019, A recipe for training neural networks: use backprop to chart dependencies",
)
