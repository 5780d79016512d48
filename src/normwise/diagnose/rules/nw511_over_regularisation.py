"""Regularization that is stronger than the data."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator

from torch.nn.modules.dropout import _DropoutNd

from normwise.diagnose.facts import Facts, RunFacts
from normwise.diagnose.outcome import early_update, falls_short, learned_little, loss_figure
from normwise.diagnose.remedies import change_decay, change_dropout
from normwise.diagnose.rule import Found, Rule
from normwise.diagnose.subject import Setup
from normwise.results.diagnosis import Evidence, Finding

_LARGE = 0.1
"""‖Δw‖ / ‖w‖ of a step that is too large, as for NW506."""

_SHRINKS = 0.3
"""What decay alone would take off the weights in the whole training."""

_PULL = 0.5
"""‖decay · w‖ / ‖gradient‖; where both are in balance it is 1, and weights stay where the penalty wants them."""

_RATE, _SURE_RATE = 0.7, 0.85
"""Dropout rates above leave hardly anything; the second whatever comes of the training."""


def _check(facts: Facts) -> Iterator[Found]:
    run, setup = facts.run, facts.subject.setup
    if run is None or setup is None or run.diverged is not None:
        return
    pull = _pull(run)
    decay, update = setup.optimizer.weight_decay, early_update(run) or 0.0
    # Of steps that are too large for other reasons the decay is no cause.
    shrinks = setup.optimizer.lr * decay
    to_blame = shrinks * run.steps > _SHRINKS and (update < _LARGE or shrinks > update / 10)
    # Where the decay goes through Adam's division, its share of a step is another.
    to_blame = to_blame or (setup.optimizer.name not in ("SGD", "AdamW") and update < _LARGE)
    if pull is not None and pull > _PULL and learned_little(run) and to_blame:
        yield Found(
            "",
            f"a weight decay of {decay:g} pulls {pull:.2g} times as hard as the data",
            0.9,
            (Evidence("‖decay · w‖ over ‖gradient‖", pull, f"below {_PULL:g}", "×"),),
            (loss_figure(run),),
            remedy="a smaller weight decay, such as a hundredth of it",
            code_lines=(f"weight_decay={decay / 100:.2g}",),
            applicability="changes training",
        )
    dropped = [
        (name, module.p)
        for name, module in facts.subject.model.named_modules()
        if isinstance(module, _DropoutNd) and module.p > (_RATE if falls_short(run) else _SURE_RATE)
    ]
    if dropped:
        name, rate = max(dropped, key=lambda each: each[1])
        yield Found(
            name,
            f"`{name}` drops {100 * rate:.0f} % of its input",
            0.94,
            (Evidence("drop rate", 100 * rate, f"at most {100 * _RATE:g}", "%"),),
            remedy="a lower rate: .1 to .5 behind linear layers, less behind convolutions",
            code_lines=tuple(f"model.{other}.p = 0.2" for other, _ in dropped),
            applicability="changes training",
            also=tuple(other for other, _ in dropped if other != name),
        )


def _pull(run: RunFacts) -> float | None:
    """The median over layers and looks of the second half."""
    found = [
        ratio
        for ratios in run.decay.values()
        for step, ratio in ratios
        if step * 2 >= run.steps and math.isfinite(ratio)
    ]
    return statistics.median(found) if found else None


def _fix(setup: Setup, finding: Finding) -> Setup:
    if finding.layer:
        return change_dropout(setup, 0.2, finding.layer, *finding.also)
    return change_decay(setup, setup.optimizer.weight_decay / 100)


RULE = Rule(
    code="NW511",
    name="over-regularisation",
    summary="Weight decay or dropout so strong that nothing is learned.",
    why="A penalty that pulls harder than the data takes the weights to zero; a dropout that leaves one unit in ten "
    "hides the signal in its own noise.",
    bad="torch.optim.AdamW(model.parameters(), weight_decay=10.0)",
    good="torch.optim.AdamW(model.parameters(), weight_decay=0.01)",
    check=_check,
    needs=frozenset({"run"}),
    explains=frozenset({"NW501", "NW503", "NW505", "NW506", "NW509"}),
    fix=_fix,
    source="TheDeepChecker (Ben Braiek & Khomh 2023)",
)
