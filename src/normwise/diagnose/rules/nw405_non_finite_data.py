"""Inputs that are infinite or not a number."""

from __future__ import annotations

from collections.abc import Iterator

from normwise.diagnose.facts import Facts
from normwise.diagnose.rule import Found, Rule
from normwise.results.diagnosis import Evidence


def _check(facts: Facts) -> Iterator[Found]:
    data = facts.data
    if data is None or not data.not_finite:
        return
    yield Found(
        "",
        f"{data.not_finite:,} of the training inputs are infinite or not a number",
        1.0,
        (Evidence("values that are not finite", float(data.not_finite), "none"),),
        remedy="fill missing values with the median of the column, and say by a column of its own where they were",
        code_lines=("x = torch.where(torch.isfinite(x), x, median)",),
    )


RULE = Rule(
    code="NW405",
    name="non-finite-data",
    summary="NaN or infinite values among the training inputs.",
    why="One of them makes the loss of its batch NaN, and the next step all weights.",
    bad="x = torch.tensor(table.values)  # with missing values",
    good="x = torch.where(torch.isfinite(x), x, median)",
    check=_check,
    needs=frozenset({"inputs"}),
    explains=frozenset({"NW203", "NW401", "NW502", "NW506", "NW507", "NW509", "NW512"}),
)
