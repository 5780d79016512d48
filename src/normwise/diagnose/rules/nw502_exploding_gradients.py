"""Gradients that get larger from layer to layer on their way to the input, or jump while training."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence

from normwise.diagnose.facts import Facts, RunFacts
from normwise.diagnose.outcome import layer_figure, learned_little, observed, slope
from normwise.diagnose.remedies import clip
from normwise.diagnose.rule import Found, Rule
from normwise.diagnose.subject import Setup
from normwise.monitor.observe import LayerState
from normwise.results.diagnosis import Evidence, Finding, Series

_DECADES = 3.0
_JUMP = 100.0
"""A gradient so many times the run's own median, twice, is an explosion."""


def _check(facts: Facts) -> Iterator[Found]:
    start, run = facts.start, facts.run
    if start is None:
        return
    layers = tuple(layer for layer in observed(start) if layer.gradient_rms)
    grown = _grown(layers)
    little = run is None or learned_little(run)
    if grown >= _DECADES and little:
        yield Found(
            layers[0].name,
            f"the gradient is 10^{grown:.1f} times larger at `{layers[0].name}` than at `{layers[-1].name}`",
            0.9 if run is not None else 0.7,
            (Evidence("decades gained from the last layer to the first", grown, "below 3", "decades"),),
            (
                layer_figure(
                    "gradient before each activation (RMS)", layers, [each.gradient_rms for each in layers]
                ),
            ),
            remedy="initialize so that each layer keeps the variance (He for ReLU), or normalize before each "
            "activation",
            code_lines=("nw.initialize_(model, 'he', seed=0)", "model, edits = nw.insert(model, 'batch', x)"),
            applicability="changes training",
        )
    elif run is not None and little and (jumps := _jumps(run)):
        typical = _typical(run)
        worst = max((run.gradient_norms[i] for i in jumps), default=math.inf)
        yield Found(
            "",
            f"the gradient's norm jumps to {worst:.3g}, its median is {typical:.3g}, at step {jumps[0]}",
            0.6,
            (Evidence("largest gradient over the median", worst / typical, f"below {_JUMP:g}", "×"),),
            (_figure(run),),
            remedy="clip the gradient's norm, and lower the learning rate or warm it up",
            code_lines=(f"nn.utils.clip_grad_norm_(model.parameters(), {2 * typical:.2g})",),
            applicability="changes training",
        )


def _grown(layers: Sequence[LayerState]) -> float:
    """log₁₀ of how much larger the gradient before the activation is in the first layer than in the last, fitted."""
    sizes = [layer.gradient_rms or 0.0 for layer in layers]
    if len(sizes) < 4 or not all(map(math.isfinite, sizes)):
        return 0.0
    return -slope([math.log10(size) for size in sizes]) * (len(sizes) - 1)


def _typical(run: RunFacts) -> float:
    finite = [norm for norm in run.gradient_norms if math.isfinite(norm)]
    return max(statistics.median(finite), 1e-30) if finite else 1.0


def _jumps(run: RunFacts) -> list[int]:
    typical = _typical(run)
    found = [i for i, norm in enumerate(run.gradient_norms) if math.isfinite(norm) and norm > _JUMP * typical]
    return found if len(found) >= 2 else []


def _figure(run: RunFacts) -> Series:
    every = max(1, len(run.gradient_norms) // 100)
    kept = list(enumerate(run.gradient_norms))[::every]
    values = tuple(norm if math.isfinite(norm) else None for _, norm in kept)
    return Series("norm of the gradient", "steps", tuple(str(step) for step, _ in kept), values, log=True)


def _fix(setup: Setup, finding: Finding) -> Setup:
    return clip(setup, 1.0)


RULE = Rule(
    code="NW502",
    name="exploding-gradients",
    summary="Gradients grow by orders of magnitude towards the first layers, or jump from step to step.",
    why=(
        "A gradient that grows with depth makes steps that are far too large for the first layers at any learning rate "
        "that moves the last ones; one jump can undo all that was learned."
    ),
    bad="for layer in model: nn.init.normal_(layer.weight, std=1.0)",
    good="nw.initialize_(model, 'he')",
    check=_check,
    needs=frozenset({"batch"}),
    explains=frozenset({"NW508", "NW509", "NW512"}),
    fix=_fix,
    source="Pascanu, Mikolov & Bengio 2013",
)
