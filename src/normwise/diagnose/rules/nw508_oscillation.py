"""A loss that jumps up and down instead of falling."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Iterator

from normwise.diagnose.facts import Facts, RunFacts
from normwise.diagnose.outcome import learned_little, loss_figure
from normwise.diagnose.remedies import change_rate
from normwise.diagnose.rule import Found, Rule
from normwise.diagnose.subject import Setup
from normwise.results.diagnosis import Evidence, Finding

_SWING = 0.5
"""Mean change from one look to the next, over the mean loss, in the second half."""

_TURNS = 2


def _check(facts: Facts) -> Iterator[Found]:
    run, setup = facts.run, facts.subject.setup
    if run is None or setup is None or run.diverged is not None or not learned_little(run):
        return
    swing, turns = _swing(run)
    if swing < _SWING or turns < _TURNS:
        return
    yield Found(
        "",
        f"in the second half the loss changes by {100 * swing:.0f} % of itself from one look to the next, up and down",
        0.7,
        (
            Evidence("mean swing of the loss", 100 * swing, "below 50", "%"),
            Evidence("turns in the second half", float(turns), f"below {_TURNS}"),
        ),
        (loss_figure(run),),
        remedy="a lower learning rate, or larger batches",
        code_lines=(
            f"optimizer = torch.optim.{setup.optimizer.name}(model.parameters(), lr={setup.optimizer.lr / 10:.2g})",
        ),
        applicability="changes training",
    )


def _swing(run: RunFacts) -> tuple[float, int]:
    half = [each.train_loss for each in run.evaluated if each.step * 2 >= run.steps]
    if len(half) < 4 or not all(map(math.isfinite, half)):
        return 0.0, 0
    moves = [b - a for a, b in itertools.pairwise(half)]
    turns = sum(a * b < 0 for a, b in itertools.pairwise(moves))
    return statistics.fmean(map(abs, moves)) / max(statistics.fmean(half), 1e-30), turns


def _fix(setup: Setup, finding: Finding) -> Setup:
    return change_rate(setup, 0.1)


RULE = Rule(
    code="NW508",
    name="oscillation",
    summary="The loss swings from look to look by half of itself, and nothing is learned.",
    why="Steps that are too long for the curvature cross the valley instead of going down in it.",
    bad="torch.optim.SGD(model.parameters(), lr=2.0, momentum=0.9)",
    good="torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)",
    check=_check,
    needs=frozenset({"run"}),
    explains=frozenset({"NW509"}),
    fix=_fix,
)
