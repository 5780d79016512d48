"""An activation behind the last layer that keeps outputs from where the targets are."""

from __future__ import annotations

import math
from collections.abc import Iterator

from torch import nn

from normwise.diagnose.facts import Facts
from normwise.diagnose.remedies import leave_out
from normwise.diagnose.rule import Found, Rule
from normwise.diagnose.structure import Flow, Step, flow
from normwise.diagnose.subject import Setup
from normwise.errors import ArgumentError, explain
from normwise.results.diagnosis import Evidence, Finding

_RANGES = {"relu": (0.0, math.inf), "softplus": (0.0, math.inf), "sigmoid": (0.0, 1.0), "tanh": (-1.0, 1.0)}
"""Between which values outputs of an operator lie."""

_MODULES = (nn.ReLU, nn.Softplus, nn.Sigmoid, nn.Tanh)

_BETWEEN = ("reshape", "move")

_OUTSIDE = 0.02
"""Share of targets beyond the range."""


def _check(facts: Facts) -> Iterator[Found]:
    scoring = facts.scoring
    if scoring is None:
        return
    if scoring.clamped is not None:
        said, evidence = _out_of_reach(facts, "a clamp", *scoring.clamped)
        if said:
            last_layer = facts.start.layers[-1].name if facts.start and facts.start.layers else ""
            yield Found(
                last_layer, said, 0.97, evidence, remedy="clamp what is shown, not what is trained on"
            )
        return
    found = flow(facts)
    if found is None or len(found.outputs) != 1:
        return
    last = _activation(found, found.steps[found.outputs[0]])
    if last is None:
        return
    op = next(op for op in last.ops if op in _RANGES)
    if scoring.takes and op != "sigmoid":
        takes = f"{scoring.takes} to that, which takes scores of both signs"
        said = f"the model ends with {op}, and its loss applies {takes}"
        evidence = ()
    else:
        said, evidence = _out_of_reach(facts, op, *_RANGES[op])
    if not said:
        return
    named = last.module is not None
    yield Found(
        last.name if named else found.layer_before(last),
        said,
        0.6 if facts.subject.made_up else 0.97,
        evidence,
        remedy="return what the last layer gives",
        code_lines=(f"model.set_submodule({last.name!r}, nn.Identity())",) if named else (),
        applicability="changes training" if named else "advice",
    )


def _out_of_reach(facts: Facts, what: str, low: float, high: float) -> tuple[str, tuple[Evidence, ...]]:
    """What is to be said of numbers to be learned that outputs in this range cannot reach; "" where they can."""
    targets = facts.subject.targets
    scores = facts.scoring is not None and facts.scoring.takes
    if scores or targets is None or not targets.is_floating_point() or facts.subject.made_up:
        return "", ()
    outside = float(((targets < low - 1e-6) | (targets > high + 1e-6)).float().mean())
    if outside < _OUTSIDE:
        return "", ()
    bounds = f"{low:g} and above" if high == math.inf else f"{low:g} to {high:g}"
    said = f"the model ends with {what}, whose outputs are {bounds}; {100 * outside:.0f} % of the targets are not"
    return said, (Evidence("targets out of reach", 100 * outside, "none", "%"),)


def _activation(found: Flow, end: Step) -> Step | None:
    """The activation whose outputs are the model's."""
    step: Step | None = end
    if end.kind in _BETWEEN:
        _, step = found.before(end, _BETWEEN)
    return step if step is not None and any(op in _RANGES for op in step.ops) and _alone(step) else None


def _alone(step: Step) -> bool:
    return step.module is None or isinstance(step.module, _MODULES)


def _fix(setup: Setup, finding: Finding) -> Setup:
    if not isinstance(setup.model.get_submodule(finding.layer), _MODULES):
        must, hint = "the activation must be called as a module", "change the function in `forward`"
        raise ArgumentError(explain("fix", must, f"`{finding.layer}`", hint))
    return leave_out(setup, finding.layer)


RULE = Rule(
    code="NW111",
    name="activation-on-output",
    summary="An activation behind the last layer, which keeps outputs from where the targets are.",
    why=(
        "Behind a ReLU an output cannot be negative, and gets no gradient where it would be: of scores the wrong "
        "classes cannot be ruled out, of a regression half of the targets cannot be reached."
    ),
    bad="return F.relu(self.head(x))",
    good="return self.head(x)",
    check=_check,
    needs=frozenset({"graph", "batch"}),
    explains=frozenset({"NW501", "NW503", "NW504", "NW507", "NW509"}),
    fix=_fix,
    source="Schoop et al. 2021, UMLAUT; Islam et al. 2019, a comprehensive study on deep learning bug characteristics",
)
