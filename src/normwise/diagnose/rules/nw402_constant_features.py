"""Columns of the input that never vary."""

from __future__ import annotations

from collections.abc import Iterator

from normwise.diagnose.facts import Facts
from normwise.diagnose.rule import Found, Rule
from normwise.results.diagnosis import Evidence


def _check(facts: Facts) -> Iterator[Found]:
    data = facts.data
    if data is None or not data.constant:
        return
    count, total = len(data.constant), len(data.scales)
    shown = ", ".join(map(str, data.constant[:8])) + (" and more" if count > 8 else "")
    yield Found(
        "",
        f"{count} of {total} input columns are constant over the training part: {shown}",
        0.9 if 2 * count > total else 0.4,
        (Evidence("constant columns", 100 * count / total, "none", "%"),),
        remedy="drop them: they carry nothing, and blow up where they vary later",
        code_lines=("x = x[:, x_train.std(0) > 0]",),
    )


RULE = Rule(
    code="NW402",
    name="constant-features",
    summary="Input columns, or channels of images, that are the same in every training sample.",
    why=(
        "A constant column acts as a second bias. Standardised, it divides by nothing but a small constant, so that a "
        "value that differs at last, in use, is enormous."
    ),
    bad="x = table  # with an ID of the batch, the same in every row",
    good="x = x[:, x_train.std(0) > 0]",
    check=_check,
    needs=frozenset({"data"}),
)
