"""Running statistics that are not those of the data."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from normwise.diagnose.facts import Facts, NormState
from normwise.diagnose.rule import Found, Rule
from normwise.diagnose.subject import Setup
from normwise.results.diagnosis import Evidence, Finding

_WORSE = 1.25
"""The loss on training samples in evaluation, over that in training mode."""

_SETTLED = 100
"""Batches after which statistics of a momentum of 0.01 and more are those of the data."""

_SHIFT, _SPREAD = 1.0, 1.0
"""In σ, and in factors of two of the variance: where statistics are off."""

_SLOW = 0.01
_USUAL = 0.1


def _check(facts: Facts) -> Iterator[Found]:
    losses = _losses(facts)
    norms = facts.norms if facts.run is None else facts.run.norms
    off = [state for state in norms if _distance(state) >= 1]
    if losses is None or not off:
        return
    evaluated, trained = losses
    state = max(off, key=_distance)
    momentum = getattr(state.module, "momentum", None)
    slow = [each for each in norms if _is_slow(each)]
    yield Found(
        state.name,
        f"the same samples have a loss of {evaluated:.3g} in evaluation and {trained:.3g} in training: the running "
        f"statistics of `{state.name}` are {state.shift:.2g} σ and a factor {2 ** (state.spread or 0.0):.2g} off",
        0.9 if slow else 0.8,
        (
            Evidence("loss in evaluation / in training", _ratio(evaluated, trained), f"below {_WORSE}"),
            Evidence("shift of the mean", state.shift, f"below {_SHIFT:g}", "σ"),
        ),
        remedy="recalibrate the statistics (nw.recalibrate)"
        + (f", and use momentum={_USUAL:g} instead of {momentum}" if slow else ""),
        code_lines=tuple(f"model.get_submodule({each.name!r}).momentum = {_USUAL:g}" for each in slow),
        applicability="changes training" if slow else "advice",
        also=tuple(each.name for each in off if each is not state),
    )


def _losses(facts: Facts) -> tuple[float, float] | None:
    """Of the same samples in evaluation and in training, where evaluation is clearly and lastingly worse."""
    if facts.run is not None:
        last: Sequence[tuple[float, float]] = [(e.train_loss, e.batch_loss) for e in facts.run.evaluated[-3:]]
        settled = len(facts.run.evaluated) > 3 and facts.run.diverged is None
    else:
        last = [(facts.evaluation.loss, facts.start.loss)] if facts.start and facts.evaluation else []
        settled = any((state.tracked or 0) >= _SETTLED for state in facts.norms) and not facts.subject.made_up
    if not settled or not last or any(not _worse(*pair) for pair in last):
        return None
    return last[-1]


def _worse(evaluated: float, trained: float) -> bool:
    return not math.isfinite(evaluated) or evaluated > _WORSE * trained + 0.02


def _ratio(evaluated: float, trained: float) -> float | None:
    ratio = evaluated / max(trained, 1e-12)
    return ratio if math.isfinite(ratio) else None


def _distance(state: NormState) -> float:
    """Of running statistics from the batch's, in thresholds; noise of few values is no distance."""
    if state.shift is None or state.spread is None or (state.values or 0) < 2:
        return 0.0
    return max(state.shift / _SHIFT, state.spread / _SPREAD)


def _is_slow(state: NormState) -> bool:
    """Whether a norm's momentum is too small, or its average too long, to follow."""
    norm: Any = state.module
    if norm._buffers.get("running_mean") is None:
        return False
    momentum = getattr(norm, "momentum", _USUAL)
    return momentum is None or momentum < _SLOW


def _fix(setup: Setup, finding: Finding) -> Setup:
    for name, module in setup.model.named_modules():
        if _is_slow(NormState(name, module, "")):
            norm: Any = module
            norm.momentum = _USUAL
    return setup


RULE = Rule(
    code="NW303",
    name="stale-statistics",
    summary="Evaluation is worse than training on the same samples, and running statistics are why.",
    why=(
        "Evaluation divides by running statistics, training by those of the batch. Where the two are far apart, from a "
        "momentum that is too small, from batches that are, or from other data, what is evaluated is not what was "
        "trained."
    ),
    bad="nn.BatchNorm2d(64, momentum=1e-4)",
    good="nn.BatchNorm2d(64)  # momentum=0.1; or nw.recalibrate(model, loader) after training",
    check=_check,
    needs=frozenset({"batch"}),
    explains=frozenset({"NW510"}),
    fix=_fix,
    source="Wu & Johnson 2021, Rethinking Batch in BatchNorm, section 3; TheDeepChecker (Braiek & Khomh 2022)",
)
