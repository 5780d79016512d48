"""A residual branch that rectifies before its norm."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from normwise.diagnose.facts import Facts
from normwise.diagnose.remedies import leave_out
from normwise.diagnose.remedies.activation import kind_of_activation
from normwise.diagnose.rule import Found, Rule
from normwise.diagnose.structure import Flow, Step, flow, norms_of
from normwise.diagnose.subject import Setup
from normwise.results.diagnosis import Finding

_BETWEEN = ("reshape", "move", "dropout")


def _check(facts: Facts) -> Iterator[Found]:
    found = flow(facts)
    if found is None:
        return
    norms = list(norms_of(facts))
    behind = {norm.name: step for norm in norms if (step := _rectifier(found, norm)) is not None}
    # Where most norms follow an activation that is the design, as in ConvMixer, and it trains.
    if not behind or 2 * len(behind) > len(norms):
        return
    hits = [norm for norm in norms if norm.name in behind and _added(found, norm)]
    if hits:
        name = hits[0].name
        activation = behind[name]
        yield Found(
            name,
            f"the branch that ends in `{name}` is rectified before it is normalized and added",
            0.6,
            remedy="take the activation in front of the norm away: linear layer → norm → addition",
            code_lines=_lines(activation),
            applicability="advice" if activation.module is None else "changes training",
            also=tuple(norm.name for norm in hits[1:]),
        )


def _lines(activation: Step) -> tuple[str, ...]:
    if activation.module is None:
        return ()
    return (f"model.set_submodule({activation.name!r}, nn.Identity())",)


def _rectifier(found: Flow, norm: Step) -> Step | None:
    _, source = found.before(norm, _BETWEEN)
    return source if source is not None and source.kind == "one-sided" else None


def _added(found: Flow, norm: Step) -> bool:
    _, reader = found.after(norm, _BETWEEN)
    return reader is not None and reader.kind == "add"


def _fix(setup: Setup, finding: Finding) -> Setup:
    """Without the activations that stand right in front of the norms."""
    leaves = [(name, m) for name, m in setup.model.named_modules() if next(m.children(), None) is None]
    norms = (finding.layer, *finding.also)
    pairs = itertools.pairwise(leaves)
    return leave_out(
        setup, *(name for (name, m), (norm, _) in pairs if norm in norms and kind_of_activation(m))
    )


RULE = Rule(
    code="NW104",
    name="norm-after-last-activation",
    summary="A residual branch ends in an activation and then a norm, where the network's other norms come before.",
    why=(
        "What a branch adds should be free to have either sign. Behind a rectifier half of the values are equal, and "
        "the norm moves these to one negative constant: the branch adds a skewed offset to every sample instead of a "
        "correction."
    ),
    bad="x + nn.Sequential(conv, nn.ReLU(), nn.BatchNorm2d(64))(x)",
    good="x + nn.Sequential(conv, nn.BatchNorm2d(64))(x)",
    check=_check,
    needs=frozenset({"graph"}),
    fix=_fix,
    source="He et al. 2016, Identity mappings in deep residual networks, section 4.1 (signs of a branch) and 4.2",
)
