"""Weight decay that pulls the scales of norms to zero."""

from __future__ import annotations

from collections.abc import Iterator

from torch.optim import Optimizer

from normwise.diagnose.facts import Facts
from normwise.diagnose.remedies import spare_norms
from normwise.diagnose.rule import Found, Rule
from normwise.results.diagnosis import Evidence

_STRONG = 0.02
"""Of decoupled decay; recipes with less than that decay norms, too, and train."""

_STRONG_COUPLED = 2e-3
_DECOUPLED = ("AdamW", "SGDW", "Lion", "Muon")


def _check(facts: Facts) -> Iterator[Found]:
    name, decay, norms = _decayed(facts)
    strong = _STRONG if name in _DECOUPLED else _STRONG_COUPLED
    if not norms or decay < strong:
        return
    yield Found(
        norms[0],
        f"{name} pulls the weights of {len(norms)} norms to zero, with a weight decay of {decay:g}",
        0.6,
        (Evidence("weight decay of norms", decay, f"0, or below {strong:g}"),),
        remedy="leave norms and biases out of weight decay",
        code_lines=(f"optimizer = {name}(nw.parameter_groups(model, weight_decay={decay:g}), lr=…)",),
        applicability="changes training",
        also=tuple(norms[1:]),
    )


def _decayed(facts: Facts) -> tuple[str, float, list[str]]:
    """The optimizer, its decay of norms, and the norms whose scale it decays."""
    given, setup = facts.subject.optimizer, facts.subject.setup
    scales = {
        id(weight): state.name
        for state in facts.norms
        if (weight := state.module._parameters.get("weight")) is not None and weight.requires_grad
    }
    if given is not None:
        return type(given).__name__, *_groups(given, scales)
    if setup is None or setup.optimizer.spares_norms:
        return "", 0.0, []
    return setup.optimizer.name, setup.optimizer.weight_decay, list(scales.values())


def _groups(optimizer: Optimizer, scales: dict[int, str]) -> tuple[float, list[str]]:
    decays = {
        scales[id(p)]: float(group.get("weight_decay", 0.0))
        for group in optimizer.param_groups
        for p in group["params"]
        if id(p) in scales
    }
    hit = [name for name in scales.values() if decays.get(name, 0.0) > 0]
    return max(decays.values(), default=0.0), hit


RULE = Rule(
    code="NW110",
    name="decay-on-norms",
    summary="The optimizer's weight decay takes in the scales of norms.",
    why=(
        "Weight decay keeps weights small. The scale of a norm is no weight of that sort: pulled to zero it shrinks "
        "the signal of its layer, or, in front of another norm, only changes the learning rate. Strong decay of it "
        "costs accuracy for nothing."
    ),
    bad="torch.optim.AdamW(model.parameters(), weight_decay=0.05)",
    good="torch.optim.AdamW(nw.parameter_groups(model, weight_decay=0.05))",
    check=_check,
    needs=frozenset({"optimizer"}),
    explains=frozenset({"NW511"}),
    fix=lambda setup, finding: spare_norms(setup),
    source="He et al. 2019, Bag of tricks for image classification, section 3.1",
)
