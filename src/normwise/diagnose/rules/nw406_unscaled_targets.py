"""A target of numbers far from zero mean and unit spread."""

from __future__ import annotations

import math
from collections.abc import Iterator

from normwise.diagnose.facts import Facts
from normwise.diagnose.outcome import learned_little, loss_figure, progress
from normwise.diagnose.remedies import standardise_targets
from normwise.diagnose.rule import Found, Rule
from normwise.diagnose.subject import Setup
from normwise.results.diagnosis import Evidence, Finding

_LARGE = 10.0
"""Root mean square of a target where training gets little done; outputs of a usual initialization are of about 1."""

_HUGE = 1000.0
"""Where training gets somewhere all the same, it would get there sooner."""


def _check(facts: Facts) -> Iterator[Found]:
    data, run = facts.data, facts.run
    if data is None or run is None or data.target_mean is None or data.target_std is None:
        return
    size = math.hypot(data.target_mean, data.target_std)
    least = _LARGE if learned_little(run) else _HUGE
    if not least < size < math.inf or data.target_std <= 0:
        return
    yield Found(
        "",
        f"the targets have mean {data.target_mean:.3g} and standard deviation {data.target_std:.3g}; after "
        f"{run.steps} steps {100 * max(progress(run), 0):.0f} % of the loss is gone",
        0.9,
        (
            Evidence("mean of the targets", data.target_mean, "about 0"),
            Evidence("standard deviation of the targets", data.target_std, "about 1"),
        ),
        (loss_figure(run),),
        remedy="standardise the targets with mean and standard deviation of the training part",
        code_lines=(
            "mean, std = y_train.mean(), y_train.std()",
            "y = (y - mean) / std  # a prediction in the units of y: std * output + mean",
        ),
        applicability="changes training",
    )


def _fix(setup: Setup, finding: Finding) -> Setup:
    mean, std = (each.value or 0.0 for each in finding.evidence)
    return standardise_targets(setup, mean, std)


RULE = Rule(
    code="NW406",
    name="unscaled-targets",
    summary="Targets of a regression that are many times as large as what a network gives at first.",
    why=(
        "The loss and all gradients grow with the target. The steps of Adam do not: its outputs need thousands of them "
        "to get there. Those of SGD do, so that they diverge or kill units at a rate that else is right."
    ),
    bad="loss = F.mse_loss(model(x), price_in_dollars)",
    good="loss = F.mse_loss(model(x), (price - price_train.mean()) / price_train.std())",
    check=_check,
    needs=frozenset({"data", "run"}),
    explains=frozenset(
        {"NW502", "NW503", "NW504", "NW505", "NW506", "NW507", "NW508", "NW509", "NW511", "NW512"}
    ),
    fix=_fix,
    source="Bishop 1995, Neural Networks for Pattern Recognition, section 8.2",
)
