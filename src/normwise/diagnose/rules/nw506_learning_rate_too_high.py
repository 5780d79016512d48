"""Steps that overshoot."""

from __future__ import annotations

import math
from collections.abc import Iterator

from normwise.diagnose.facts import Facts, RunFacts
from normwise.diagnose.outcome import begins_slowly, early_update, falls_short, learned_little, loss_figure
from normwise.diagnose.remedies import change_rate
from normwise.diagnose.rule import Found, Rule
from normwise.diagnose.subject import Setup
from normwise.results.diagnosis import Evidence, Finding

_LARGE = 0.1
"""‖Δw‖ / ‖w‖ of one step: TheDeepChecker's upper bound."""

_SURE = 0.3
"""A step that is to blame where training falls short, though the loss does not rise."""

_WHOLE = 1.0
"""A step as large as the weights themselves is too large whatever comes of it."""

_RISE = 2.0


def _check(facts: Facts) -> Iterator[Found]:
    run, setup = facts.run, facts.subject.setup
    update = None if run is None else early_update(run)
    if run is None or setup is None or update is None or not run.losses:
        return
    if dict(setup.optimizer.options).get("maximize"):
        return  # NW512 says it
    rise = _rise(run)
    harms = learned_little(run) or (falls_short(run) and update > _SURE)
    harms = harms or ((falls_short(run) or _ends_higher(run)) and rise > _RISE)
    if (update < _WHOLE and not harms) or (update < 2 * _WHOLE and begins_slowly(facts)):
        return
    if update <= _LARGE and not (rise > _RISE and update > _LARGE / 10 and learned_little(run)):
        return
    lower = setup.optimizer.lr / (10 if update < 10 * _LARGE else 100)
    yield Found(
        "",
        f"a learning rate of {setup.optimizer.lr:g} changes weights by {100 * update:.3g} % in each of the first steps"
        + (f", and the loss rises to {rise:.3g} times its first value" if rise > 1 else ""),
        0.88 if update > _LARGE else 0.75,
        (
            Evidence("change of a weight in one step", 100 * update, "0.01 to 10", "%"),
            Evidence("largest loss of the first steps over the first", rise, f"below {_RISE:g}", "×"),
        ),
        (loss_figure(run),),
        remedy=f"a lower learning rate, such as {lower:.2g}, or a warm-up",
        code_lines=(f"optimizer = torch.optim.{setup.optimizer.name}(model.parameters(), lr={lower:.2g})",),
        applicability="changes training",
    )


def _ends_higher(run: RunFacts) -> bool:
    """Whether the loss ends above its beginning: classes may be right all the same."""
    return bool(run.evaluated) and run.evaluated[-1].train_loss > run.evaluated[0].train_loss


def _rise(run: RunFacts) -> float:
    early = [loss if math.isfinite(loss) else math.inf for loss in run.losses[:50]]
    return max(early) / max(run.losses[0], 1e-30)


def _fix(setup: Setup, finding: Finding) -> Setup:
    change = next((each.value for each in finding.evidence if each.unit == "%"), None) or 0.0
    factor = 10 if change < 1000 * _LARGE else 100
    return change_rate(setup, 1 / factor)


RULE = Rule(
    code="NW506",
    name="learning-rate-too-high",
    summary="Single steps change the weights by a tenth of their size or more, and nothing is learned.",
    why=(
        "A step is right to first order only: one that is as large as the weights lands anywhere. The loss rises or "
        "jumps, units die, and the training diverges or stays at chance."
    ),
    bad="torch.optim.SGD(model.parameters(), lr=10.0)",
    good="torch.optim.SGD(model.parameters(), lr=0.1)",
    check=_check,
    needs=frozenset({"run"}),
    explains=frozenset({"NW301", "NW303", "NW502", "NW503", "NW504", "NW508", "NW509", "NW510", "NW512"}),
    fix=_fix,
    source="TheDeepChecker (Ben Braiek & Khomh 2023): log₁₀ of the update ratio within [−4, −1]",
)
