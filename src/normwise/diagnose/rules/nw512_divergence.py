"""A loss that grows, or is no number any more."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

from normwise.diagnose.facts import Facts
from normwise.diagnose.outcome import LITTLE, gained, loss_figure
from normwise.diagnose.remedies import change_rate, clip
from normwise.diagnose.rule import Found, Rule
from normwise.diagnose.subject import Setup
from normwise.results.diagnosis import Evidence, Finding

_GROWN = 1.5

_BOTTOM = 3.0
"""Times the first loss below zero."""


def _check(facts: Facts) -> Iterator[Found]:
    run, setup = facts.run, facts.subject.setup
    if run is None or setup is None or not run.evaluated:
        return
    climbs = bool(dict(setup.optimizer.options).get("maximize"))
    first, last = run.evaluated[0], run.evaluated[-1]
    grown = min(last.train_loss, last.batch_loss) / max(abs(min(first.train_loss, first.batch_loss)), 1e-30)
    # A loss that may be negative by its nature, as Poisson's, has a bottom.
    bottomless = last.train_loss < -_BOTTOM * max(abs(first.train_loss), 1.0)
    negative = (bottomless and gained(run) < LITTLE) or not math.isfinite(grown)
    if run.diverged is None and not negative and grown <= _GROWN:
        return
    where = f"at step {run.diverged}" if run.diverged is not None else f"after {run.steps} steps"
    said = (
        "the loss is no longer finite"
        if run.diverged is not None
        else f"the loss is {grown:.3g} times the first one"
    )
    if negative and run.diverged is None:
        said = f"the loss falls below zero, to {last.train_loss:.3g}"
    yield Found(
        "",
        f"{said} {where}" + (": the optimizer climbs, maximize=True" if climbs else ""),
        0.97 if climbs else 0.8,
        (
            Evidence(
                "loss at the end over the first", grown if math.isfinite(grown) else None, "below 1", "×"
            ),
        ),
        (loss_figure(run),),
        remedy="maximize=False, or the negative of the loss"
        if climbs
        else "look at the other findings first; without one, a lower learning rate and a clipped gradient; is the "
        "sign of the loss right?",
        code_lines=(
            f"optimizer = torch.optim.{setup.optimizer.name}(model.parameters(), lr={setup.optimizer.lr:g})"
            if climbs
            else "nn.utils.clip_grad_norm_(model.parameters(), 1.0)",
        ),
        applicability="changes training",
    )


def _fix(setup: Setup, finding: Finding) -> Setup:
    if dict(setup.optimizer.options).get("maximize"):
        return replace(setup, optimizer=setup.optimizer.with_options(maximize=False))
    return clip(change_rate(setup, 0.1), 1.0)


RULE = Rule(
    code="NW512",
    name="divergence",
    summary="The loss grows, falls below zero, or becomes infinite or NaN.",
    why="Nothing comes back from there: weights that are NaN stay NaN.",
    bad="loss = -nn.functional.cross_entropy(model(x), y)",
    good="loss = nn.functional.cross_entropy(model(x), y)",
    check=_check,
    needs=frozenset({"run"}),
    explains=frozenset({"NW502", "NW503", "NW504", "NW509", "NW510"}),
    fix=_fix,
)
