"""Probabilities where the loss takes scores."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from normwise.diagnose.facts import Facts
from normwise.diagnose.remedies import leave_out
from normwise.diagnose.rule import Found, Rule
from normwise.diagnose.structure import Flow, Step, flow
from normwise.diagnose.subject import Setup
from normwise.errors import ArgumentError, explain
from normwise.results.diagnosis import Finding

_BETWEEN = ("reshape", "move", "dropout")


def _check(facts: Facts) -> Iterator[Found]:
    found = flow(facts)
    if found is None or len(found.outputs) != 1:
        return
    last = _squashes(found, found.steps[found.outputs[0]])
    takes = "" if facts.scoring is None else facts.scoring.takes
    if last is None or not takes:
        return
    squash = {"_softmax": "softmax", "sigmoid": "sigmoid"}[_op(last)]
    yield Found(
        last.name if last.module is not None else found.layer_before(last),
        f"the model ends with {squash}, and its loss applies {takes} to that, which takes scores",
        0.6 if facts.subject.made_up else 0.98,
        remedy="return the scores; take their softmax where probabilities are asked for",
        code_lines=(f"model.set_submodule({last.name!r}, nn.Identity())",) if last.module is not None else (),
        applicability="changes training" if last.module is not None else "advice",
    )


def _squashes(found: Flow, end: Step) -> Step | None:
    """The softmax or sigmoid whose output is the model's; log_softmax changes nothing that a softmax sees."""
    step: Step | None = end
    if end.kind in _BETWEEN:
        _, step = found.before(end, _BETWEEN)
    return step if step is not None and step.kind == "softmax" and _op(step) != "_log_softmax" else None


def _op(step: Step) -> str:
    return next(op for op in step.ops if op in ("_softmax", "_log_softmax", "sigmoid"))


def _fix(setup: Setup, finding: Finding) -> Setup:
    if not isinstance(setup.model.get_submodule(finding.layer), nn.Softmax | nn.Softmax2d | nn.Sigmoid):
        must, hint = "softmax must be called as a module", "change the function in `forward`"
        raise ArgumentError(explain("fix", must, f"`{finding.layer}`", hint))
    return leave_out(setup, finding.layer)


RULE = Rule(
    code="NW109",
    name="softmax-before-cross-entropy",
    summary="The model returns probabilities, and the loss takes their softmax once more.",
    why=(
        "Cross-entropy takes the softmax of what it gets. Probabilities lie within [0, 1], so that the second softmax "
        "is nearly uniform: with C classes the loss cannot fall below ln(1 + (C − 1)/e), and gradients are small."
    ),
    bad="loss = F.cross_entropy(torch.softmax(model(x), dim=1), y)",
    good="loss = F.cross_entropy(model(x), y)",
    check=_check,
    needs=frozenset({"graph", "batch"}),
    explains=frozenset({"NW501", "NW504", "NW507", "NW509"}),
    fix=_fix,
    source="-log softmax(onehot)_y = ln(e + C − 1) − 1; torch.nn.CrossEntropyLoss",
)
