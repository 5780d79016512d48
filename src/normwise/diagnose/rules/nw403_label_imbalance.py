"""A class that the network can do without."""

from __future__ import annotations

from collections.abc import Iterator

from normwise.diagnose.facts import Facts
from normwise.diagnose.outcome import gained
from normwise.diagnose.rule import Found, Rule
from normwise.results.diagnosis import Evidence, Series

_RARE = 20.0
"""The largest class has so many times the rows of the rarest."""

_RULED = 0.2
"""A training that comes this little beyond the largest class is ruled by it."""


def _check(facts: Facts) -> Iterator[Found]:
    data = facts.data
    if data is None or len(data.counts) < 2 or not sum(data.counts):
        return
    rarest, largest = min(data.counts), max(data.counts)
    ratio = largest / max(rarest, 1)
    if ratio < _RARE:
        return
    ruled = facts.run is not None and gained(facts.run) < _RULED
    share = 100 * largest / sum(data.counts)
    said = (
        f"class {data.counts.index(rarest)} has {rarest} rows, class {data.counts.index(largest)} {largest}"
    )
    outcome = "; the network does hardly better than always to answer the latter" if ruled else ""
    yield Found(
        "",
        said + outcome,
        0.95 if ruled else 0.7,
        (
            Evidence("largest class over rarest", ratio, "below 20", "×"),
            Evidence("rows of the largest class", share, "", "%"),
        ),
        (
            Series(
                "rows of each class",
                "classes",
                tuple(map(str, range(len(data.counts)))),
                tuple(map(float, data.counts)),
                log=True,
            ),
        ),
        remedy="weight the classes in the loss, or sample them evenly; judge by balanced accuracy, not by accuracy",
        code_lines=(
            f"weight = len(y_train) / ({len(data.counts)} * torch.bincount(y_train).clamp_min(1))",
            "loss = nn.CrossEntropyLoss(weight=weight)",
        ),
    )


RULE = Rule(
    code="NW403",
    name="label-imbalance",
    summary="One class has many times the rows of another.",
    why=(
        "The loss is a mean over rows: the largest class rules it, and accuracy looks good while the rare class is "
        "never predicted."
    ),
    bad="loss = nn.CrossEntropyLoss()  # 98 % of the rows are of one class",
    good="loss = nn.CrossEntropyLoss(weight=rows / (classes * counts))",
    check=_check,
    needs=frozenset({"data"}),
    explains=frozenset({"NW509"}),
)
