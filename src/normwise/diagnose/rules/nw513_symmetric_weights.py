"""Hidden units that all begin alike."""

from __future__ import annotations

from collections.abc import Iterator

from normwise.diagnose.facts import Facts
from normwise.diagnose.remedies import initialise
from normwise.diagnose.rule import Found, Rule
from normwise.diagnose.subject import Setup
from normwise.monitor.observe import LayerState
from normwise.results.diagnosis import Evidence, Finding


def _check(facts: Facts) -> Iterator[Found]:
    if facts.start is None:
        return
    alike = [layer for layer in facts.start.hidden if layer.units > 1 and _alike(layer)]
    if not alike:
        return
    first = alike[0]
    said = "zero" if not first.weight_rms else f"equal ({first.weight_rms:.3g})"
    yield Found(
        first.name,
        f"all weights of `{first.name}` are {said}: its {first.units} units are one unit",
        0.97,
        (Evidence("spread of the weights", first.weight_spread, "a millionth of their size at least"),),
        remedy="draw them at random: He for ReLU, Xavier for tanh",
        code_lines=("nw.initialize_(model, 'he', seed=0)",),
        applicability="changes training",
        also=tuple(layer.name for layer in alike[1:]),
    )


def _alike(layer: LayerState) -> bool:
    return layer.weight_spread <= 1e-6 * layer.weight_rms or not layer.weight_rms


def _fix(setup: Setup, finding: Finding) -> Setup:
    return initialise(setup, "he")


RULE = Rule(
    code="NW513",
    name="symmetric-weights",
    summary="A hidden layer whose weights are all zero, or all equal.",
    why="Units with equal weights get equal gradients, and stay equal for ever: the layer has the width of one "
    "unit. With zeros no gradient comes through at all.",
    bad="nn.init.zeros_(layer.weight)",
    good="nn.init.kaiming_normal_(layer.weight)",
    check=_check,
    needs=frozenset({"batch"}),
    explains=frozenset({"NW501", "NW503", "NW505", "NW506", "NW507", "NW509", "NW304"}),
    fix=_fix,
    source="Goodfellow, Bengio & Courville 2016, section 8.4",
)
