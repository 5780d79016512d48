"""Activations that are driven into their flat ends."""

from __future__ import annotations

from collections.abc import Iterator

from normwise.diagnose.facts import Facts
from normwise.diagnose.outcome import learned_little
from normwise.diagnose.remedies import normalize_or_draw
from normwise.diagnose.rule import Found, Rule
from normwise.diagnose.subject import Setup
from normwise.monitor.observe import FLAT, LayerState, Observation
from normwise.results.diagnosis import Evidence, Finding, Series

_MOST, _CERTAIN = 0.5, 0.9
"""Share of what comes to a layer's activation; the second where the training gets somewhere all the same."""


def _check(facts: Facts) -> Iterator[Found]:
    start, run = facts.start, facts.run
    if start is None:
        return
    stuck = _flat(start, _MOST)
    if run is not None:
        most = _MOST if learned_little(run) else _CERTAIN
        later = {layer.name for layer in _flat(run.observed[-1][1], most)} if run.observed else set()
        stuck = [layer for layer in _flat(start, most) if layer.name in later]
    if not stuck:
        return
    first = stuck[0]
    yield Found(
        first.name,
        f"{100 * (first.flat or 0):.0f} % of what comes to the {first.activation} behind `{first.name}` lies where its "
        f"slope is below {FLAT:g}; it has a standard deviation of {first.pre_std:.3g}",
        0.9 if run is not None else 0.8,
        (
            Evidence("entries at a flat end", 100 * (first.flat or 0), "at most 50", "%"),
            Evidence("standard deviation before the activation", first.pre_std, "about 1"),
        ),
        (_figure(start),),
        remedy="Xavier's initialization, a normalization before the activation, or ReLU",
        code_lines=("nw.initialize_(model, 'xavier', seed=0)", "model, edits = nw.insert(model, 'batch', x)"),
        applicability="changes training",
        also=tuple(layer.name for layer in stuck[1:]),
    )


def _flat(seen: Observation, most: float) -> list[LayerState]:
    return [layer for layer in seen.hidden if layer.bounded and layer.flat is not None and layer.flat > most]


def _figure(seen: Observation) -> Series:
    values = tuple(None if layer.flat is None else 100 * layer.flat for layer in seen.hidden)
    return Series("entries at a flat end, %", "layers", tuple(layer.name for layer in seen.hidden), values)


def _fix(setup: Setup, finding: Finding) -> Setup:
    return normalize_or_draw(setup)


RULE = Rule(
    code="NW504",
    name="saturated-units",
    summary="A tanh or sigmoid receives values so large that its slope is nearly zero.",
    why="Where the slope is zero the gradient ends: the layers before it stand still, and the unit is a switch.",
    bad="nn.init.normal_(layer.weight, std=1.0)  # before nn.Tanh()",
    good="nn.init.xavier_normal_(layer.weight)",
    check=_check,
    needs=frozenset({"batch"}),
    explains=frozenset({"NW501", "NW507", "NW509"}),
    fix=_fix,
    source="Glorot & Bengio 2010",
)
