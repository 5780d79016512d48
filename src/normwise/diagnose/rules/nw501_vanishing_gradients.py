"""Gradients that get smaller from layer to layer on their way to the input."""

from __future__ import annotations

from collections.abc import Iterator

from normwise.diagnose.facts import Facts
from normwise.diagnose.outcome import (
    begins_slowly,
    decades,
    falls_short,
    layer_figure,
    learned_little,
    observed,
)
from normwise.diagnose.remedies import normalize_or_draw
from normwise.diagnose.rule import Found, Rule
from normwise.diagnose.subject import Setup
from normwise.monitor.observe import Observation
from normwise.results.diagnosis import Evidence, Finding

_DECADES = 1.5
"""Where a training shows that little is learned; AutoTrainer takes a ratio of 1e-3 between first and last layer."""

_WITHOUT_A_RUN = 4.0


_ROOT = 4.0
"""Decades at which units that no sample moves follow from it, and not the other way round."""


def _check(facts: Facts) -> Iterator[Found]:
    start = facts.start
    if start is None:
        return
    run = facts.run
    lost = decades(start)
    if lost is None:
        return
    if run is None:
        bad, sure = lost >= _WITHOUT_A_RUN, 0.7
    else:
        later = [decades(seen) for step, seen in run.observed if step >= run.steps // 4]
        persistent = bool(later) and sum((each or 0.0) >= _DECADES for each in later) * 2 >= len(later)
        little = learned_little(run) or (lost >= _ROOT and falls_short(run))
        bad = lost >= _DECADES and persistent and little and not begins_slowly(facts)
        sure = 0.95 if lost >= _ROOT else 0.9
    if bad:
        yield _found(start, lost, sure)


def _found(start: Observation, lost: float, sure: float) -> Found:
    layers = observed(start)
    first, last = layers[0], layers[-1]
    sizes = [layer.weight_gradient_rms for layer in layers]
    return Found(
        first.name,
        f"the gradient is 10^{lost:.1f} times smaller at `{first.name}` than at `{last.name}`, "
        f"{len(layers) - 1} layers on",
        sure,
        (Evidence("decades lost from the last layer to the first", lost, f"below {_DECADES:g}", "decades"),),
        (layer_figure("gradient of each weight (RMS)", layers, sizes),),
        remedy="put a normalization before each activation; or an activation whose slope is near 1 (ReLU, GELU) with "
        "He's initialization",
        code_lines=(
            "model, edits = nw.insert(model, 'batch', x)  # or 'layer' for small batches",
            "nw.initialize_(model, 'he', seed=0)",
        ),
        applicability="changes training",
    )


def _fix(setup: Setup, finding: Finding) -> Setup:
    return normalize_or_draw(setup)


RULE = Rule(
    code="NW501",
    name="vanishing-gradients",
    summary="Gradients shrink by orders of magnitude towards the first layers, and these stand still.",
    why=(
        "Each layer multiplies the gradient by its weights and by the slope of its activation. Where the product is "
        "below one it shrinks with depth: the last layers learn on top of first ones that stay random."
    ),
    bad="nn.Sequential(*[part for _ in range(8) for part in (nn.Linear(64, 64), nn.Sigmoid())])",
    good="nn.Sequential(*[part for _ in range(8) for part in (nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU())])",
    check=_check,
    needs=frozenset({"batch"}),
    explains=frozenset({"NW503", "NW507", "NW509"}),
    fix=_fix,
    source="Glorot & Bengio 2010; the threshold: AutoTrainer (Zhang et al. 2021)",
)
