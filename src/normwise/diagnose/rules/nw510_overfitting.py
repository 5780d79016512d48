"""Training samples learned by heart, at the cost of others."""

from __future__ import annotations

import math
from collections.abc import Iterator

from normwise.diagnose.facts import Evaluated, Facts, RunFacts
from normwise.diagnose.remedies import change_optimizer
from normwise.diagnose.rule import Found, Rule
from normwise.diagnose.subject import Setup
from normwise.results.diagnosis import Evidence, Finding, Series

_RISE, _LITTLE = 1.3, 1.05
"""The held-out loss at the end over its lowest value; the second where the gap is wide."""

_GAP, _WIDE = 0.15, 0.25
"""Of accuracy or R² between both parts."""

_LOOKS = 3

_NOTHING = 0.1
"""Of the way from the best constant answer to a perfect one: what is learned does not hold for other samples."""


def _check(facts: Facts) -> Iterator[Found]:
    run = facts.run
    if run is None or run.diverged is not None or len(run.evaluated) < 2 * _LOOKS:
        return
    end = run.evaluated[-1]
    lowest = min(run.evaluated, key=lambda each: each.validation_loss)
    rise = end.validation_loss / lowest.validation_loss if lowest.validation_loss > 0 else math.nan
    gap = end.train_metric - end.validation_metric
    nothing = end.validation_metric - run.baseline < _NOTHING * (1 - run.baseline)
    risen = rise > (_RISE if gap < _WIDE else _LITTLE) and _falling(run, lowest)
    learned = end.train_metric - run.baseline > _GAP / 3 * (1 - run.baseline)
    if gap <= _GAP or not learned or not (nothing or risen):
        return
    apart = f"the metric is {100 * gap:.0f} points lower on held-out samples than on training ones"
    said = (
        f"the held-out loss was lowest after step {lowest.step} and is {rise:.2g} times that now, while the training "
        f"loss fell on; {apart}"
        if risen
        else f"what is learned does not hold for other samples: {apart}, and hardly above the best constant answer"
    )
    ratio = (Evidence("held-out loss over its lowest", rise, f"below {_RISE:g}", "×"),) if risen else ()
    stop = f"stop after about {lowest.step} steps; " if risen else ""
    yield Found(
        "",
        said,
        0.85,
        (
            *ratio,
            Evidence("training metric minus held-out metric", 100 * gap, f"below {100 * _GAP:g}", "points"),
        ),
        (_figure(run, "held-out loss", "validation_loss"), _figure(run, "training loss", "train_loss")),
        remedy=f"{stop}weight decay, dropout, augmentation, or more data",
        code_lines=("optimizer = torch.optim.AdamW(nw.parameter_groups(model, weight_decay=0.1), lr=lr)",),
        applicability="changes training",
    )


def _falling(run: RunFacts, lowest: Evaluated) -> bool:
    """Whether the held-out loss rises since its lowest, for some looks, while the training loss falls."""
    later = [each for each in run.evaluated if each.step >= lowest.step]
    if len(later) <= _LOOKS:
        return False
    values = [each.validation_loss for each in later]
    return (
        all(map(math.isfinite, values))
        and values[-1] > values[_LOOKS // 2] > values[0]
        and (later[-1].train_loss < later[0].train_loss)
    )


def _figure(run: RunFacts, name: str, which: str) -> Series:
    labels = tuple(str(each.step) for each in run.evaluated)
    return Series(
        name, "steps", labels, tuple(float(getattr(each, which)) for each in run.evaluated), log=True
    )


def _fix(setup: Setup, finding: Finding) -> Setup:
    return change_optimizer(setup, "AdamW", weight_decay=0.1)


RULE = Rule(
    code="NW510",
    name="overfitting",
    summary="The held-out loss rises while the training loss falls.",
    why="What the network learns by now is the training samples themselves; on others it becomes surer and wronger.",
    bad="train(model, x[:50], y[:50], epochs=500)",
    good="train(model, x, y, weight_decay=0.1)  # or fewer steps, dropout, augmentation",
    check=_check,
    needs=frozenset({"run"}),
    fix=_fix,
)
