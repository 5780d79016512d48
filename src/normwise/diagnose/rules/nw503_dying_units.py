"""Units that give the same for every sample and get no gradient any more."""

from __future__ import annotations

from collections.abc import Iterator

from normwise.diagnose.facts import Facts
from normwise.diagnose.outcome import learned_little
from normwise.diagnose.remedies import normalize_or_draw
from normwise.diagnose.rule import Found, Rule
from normwise.diagnose.subject import Setup
from normwise.monitor.observe import LayerState, Observation
from normwise.results.diagnosis import Evidence, Finding, Series

_MOST = 0.5
"""Of a layer's units, on every sample of a batch; a healthy ReLU network has half of its *entries* at zero."""

_CERTAIN = 0.95


_NEARLY_ALL = 0.95
"""Through what is left hardly a gradient gets: other findings follow from it."""


def _check(facts: Facts) -> Iterator[Found]:
    start, run = facts.start, facts.run
    if start is None:
        return
    if run is None:
        dying = _dying(start, _CERTAIN)
        sure = 0.8
    else:
        ends = [seen for _, seen in run.observed[-2:]] or [start]
        most = _MOST if learned_little(run) else _CERTAIN
        there = [{layer.name for layer in _dying(seen, most)} for seen in ends]
        dying = [layer for layer in _dying(ends[-1], most) if all(layer.name in names for names in there)]
        sure = 0.9
    if not dying:
        return
    first = dying[0]
    began = run is not None and not any(layer.name == first.name for layer in _dying(start, _MOST))
    when = "after the training" if began else "from the first step on"
    yield Found(
        first.name,
        f"{100 * (first.dead or 0):.0f} % of the {first.units} units of `{first.name}` are dead {when}: no sample "
        f"gets through their {first.activation}",
        0.96 if (first.dead or 0) > _NEARLY_ALL and run is not None else sure,
        (Evidence("dead units", 100 * (first.dead or 0), "at most 50", "%"),),
        (_figure(start if run is None or not run.observed else run.observed[-1][1]),),
        remedy="a lower learning rate if they died while training; else another initialization of weights and "
        "biases; a norm before the activation, or LeakyReLU or GELU, keep units alive",
        code_lines=("model, edits = nw.insert(model, 'batch', x)",),
        applicability="changes training",
        also=tuple(layer.name for layer in dying[1:]),
    )


def _dying(seen: Observation, most: float) -> list[LayerState]:
    """Layers behind which an activation with one flat end lets hardly anything through."""
    return [x for x in seen.hidden if x.dead is not None and x.dead > most and not x.bounded]


def _figure(seen: Observation) -> Series:
    values = tuple(None if layer.dead is None else 100 * layer.dead for layer in seen.hidden)
    return Series("dead units, %", "layers", tuple(layer.name for layer in seen.hidden), values)


def _fix(setup: Setup, finding: Finding) -> Setup:
    return normalize_or_draw(setup)


RULE = Rule(
    code="NW503",
    name="dying-units",
    summary="More than half of a layer's units are off for every sample.",
    why=(
        "A ReLU that is off for all samples has no slope anywhere: its weights get no gradient, and it never comes "
        "back. The layer is as narrow as what is left of it."
    ),
    bad="nn.init.constant_(layer.bias, -10.0)  # before a ReLU",
    good="nn.init.zeros_(layer.bias)",
    check=_check,
    needs=frozenset({"batch"}),
    explains=frozenset({"NW501", "NW507", "NW509"}),
    fix=_fix,
    source="Lu et al. 2020, Dying ReLU and initialization; the share: TheDeepChecker, SageMaker Debugger",
)
