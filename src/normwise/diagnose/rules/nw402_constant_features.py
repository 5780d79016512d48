"""Columns of the input that never vary."""

from __future__ import annotations

from collections.abc import Iterator

from normwise.diagnose.facts import Facts
from normwise.diagnose.rule import Found, Rule
from normwise.results.diagnosis import Evidence


def _check(facts: Facts) -> Iterator[Found]:
    data = facts.data
    if data is None:
        return
    total = len(data.scales)
    most = 2 * len(data.constant) > total
    # Zeros add nothing and get no gradient: the margin of pictures, a word that no text has.
    columns = data.constant if most else tuple(i for i in data.constant if i not in data.blank)
    if not columns:
        return
    count = len(columns)
    shown = ", ".join(map(str, columns[:8])) + (" and more" if count > 8 else "")
    yield Found(
        "",
        f"{count} of {total} input columns are constant over the training part: {shown}",
        0.9 if most else 0.5,
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
