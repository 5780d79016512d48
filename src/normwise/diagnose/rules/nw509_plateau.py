"""A loss that has stopped to fall while nothing is learned."""

from __future__ import annotations

import math
from collections.abc import Iterator

from normwise.diagnose.facts import Facts, RunFacts
from normwise.diagnose.outcome import begins_slowly, gained, learned_little, loss_figure, progress
from normwise.diagnose.rule import Found, Rule
from normwise.results.diagnosis import Evidence

_MOVES = 0.05
"""Of the first loss, over the second half."""

_BLIND = 0.1
"""Of the way to a perfect answer, beyond the best constant one."""

_STEPS = 100
"""In fewer a healthy training may still be at its beginning."""


def _check(facts: Facts) -> Iterator[Found]:
    run = facts.run
    if run is None or run.diverged is not None or run.steps < _STEPS or not learned_little(run):
        return
    if begins_slowly(facts):
        return
    moved = _moved(run)
    longer = facts.longer
    blind = (
        longer is not None and longer.diverged is None and progress(longer) <= 0 and gained(longer) < _BLIND
    )
    if moved is None or (moved > _MOVES and not blind):
        return
    still = (
        f"the loss stands still: {100 * max(progress(run), 0):.0f} % of it is gone after {run.steps} steps, "
        f"{100 * moved:.1f} % in the second half"
    )
    said = (
        f"after {longer.steps} steps the loss is not below that of the best answer that does not look at its input"
        if blind and moved > _MOVES and longer is not None
        else still
    )
    yield Found(
        "",
        said,
        0.5,
        (
            Evidence("change of the loss over the second half", 100 * moved, "above 5", "%"),
            Evidence(
                "way from the best constant answer to a perfect one",
                100 * max(gained(run), 0),
                "above 30",
                "%",
            ),
        ),
        (loss_figure(run),),
        remedy="look at the other findings first; without one, do inputs and targets belong together, and do they say "
        "anything about each other?",
    )


def _moved(run: RunFacts) -> float | None:
    half = [each.train_loss for each in run.evaluated if each.step * 2 >= run.steps]
    if len(half) < 2 or not all(map(math.isfinite, half)):
        return None
    return (max(half) - min(half)) / max(run.evaluated[0].train_loss, 1e-30)


RULE = Rule(
    code="NW509",
    name="plateau",
    summary="The loss stands still far from anything learned.",
    why="A symptom more than a cause: inputs that say nothing of the targets, a network cut off from its loss, or "
    "steps of no size all look like this.",
    bad="y = y[torch.randperm(len(y))]  # the targets no longer belong to the inputs",
    good="x, y = x[order], y[order]",
    check=_check,
    needs=frozenset({"run"}),
)
