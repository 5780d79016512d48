"""The three lines on top: slow? unstable gradients? sensitive to initialization?"""

from __future__ import annotations

import math

from normwise.diagnose.facts import Facts, RunFacts
from normwise.diagnose.outcome import LITTLE, decades, gained, learned_little, progress
from normwise.results.diagnosis import Vital

_APART = 15
"""Points between draws of which some learn and some do not."""

_NO_RUN = "needs a short training (--data, data=)"
_DECADES, _JUMP = 3.0, 100.0


def vitals(facts: Facts) -> tuple[Vital, ...]:
    """Each with a number, or why it was not measured."""
    return _slow(facts), _unstable(facts), _sensitive(facts)


def _slow(facts: Facts) -> Vital:
    question, run = "slow?", facts.run
    if run is None:
        return Vital(question, "not measured", _NO_RUN)
    if run.diverged is not None:
        return Vital(question, "yes", f"the loss is not finite at step {run.diverged}")
    detail = f"{_reached(run)} after {run.steps} steps{_half(run)}"
    if facts.longer is not None:
        detail += (
            f"; {100 * max(progress(facts.longer), 0):.0f} % of the loss after {facts.longer.steps} steps"
        )
    return Vital(question, "yes" if learned_little(run) else "no", detail)


def _reached(run: RunFacts) -> str:
    """By loss or by metric, whichever is more: a loss may grow again while answers become right."""
    if progress(run) >= gained(run):
        return f"{100 * min(max(progress(run), 0), 1):.0f} % of the loss is gone"
    return f"{100 * max(gained(run), 0):.0f} % of the way to a perfect answer is done"


def _half(run: RunFacts) -> str:
    """When half of what was gained was gained."""
    losses = [(each.step, min(each.train_loss, each.batch_loss)) for each in run.evaluated]
    start, end = losses[0][1], losses[-1][1]
    if not end < (1 - LITTLE) * start:
        return ""
    step = next(step for step, loss in losses if loss <= (start + end) / 2)
    return f", half of that by step {step}"


def _unstable(facts: Facts) -> Vital:
    question = "unstable gradients?"
    start, run = facts.start, facts.run
    if start is None:
        return Vital(question, "not measured", "needs an input of its shape (--shape, or --data)")
    lost = decades(start)
    parts, bad = [], False
    if lost is not None:
        bad = abs(lost) >= _DECADES
        parts.append(f"from last to first layer they change by a factor of {_factor(-lost)}")
    if run is not None and run.gradient_norms:
        finite = [norm for norm in run.gradient_norms if math.isfinite(norm)]
        if finite and len(finite) == len(run.gradient_norms):
            jump = max(finite) / max(finite[0], 1e-30)
            bad = bad or jump >= _JUMP
            parts.append(f"the largest of {len(finite)} steps is {jump:.3g} times the first")
        else:
            bad = True
            parts.append(f"not finite at step {run.diverged}")
    if not parts:
        return Vital(question, "not measured", "fewer than three hidden layers")
    return Vital(question, "yes" if bad else "no", "; ".join(parts))


def _factor(exponent: float) -> str:
    return f"{10**exponent:.2g}" if abs(exponent) < 3 else f"10^{exponent:.1f}"


def _sensitive(facts: Facts) -> Vital:
    question = "sensitive to initialization?"
    if not facts.draws:
        why = "needs a builder of the model and a short training (model.py:Net with --data)"
        return Vital(question, "not measured", why)
    few = sum(share < LITTLE for share in facts.draws)
    low, high = 100 * max(min(facts.draws), 0), 100 * max(max(facts.draws), 0)
    if few == len(facts.draws):
        return Vital(
            question, "not measured", f"none of {few} other draws learns, so that nothing tells them apart"
        )
    spread = f"{high:.0f} %" if high - low < 1 else f"{low:.0f} to {high:.0f} %"
    detail = f"{len(facts.draws)} other draws come {spread} of the way"
    detail += f"; {few} of them learn little" if few else ""
    apart = high - low > (_APART if few else 50)
    return Vital(question, "yes" if apart else "no", detail)
