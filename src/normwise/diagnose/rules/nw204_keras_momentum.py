"""Momentum that means the opposite."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from normwise.diagnose.facts import Facts
from normwise.diagnose.rule import Found, Rule
from normwise.diagnose.subject import Setup
from normwise.results.diagnosis import Evidence, Finding

_MOST = 0.9


def _check(facts: Facts) -> Iterator[Found]:
    hits = [(state.name, m) for state in facts.norms if (m := _momentum(state.module)) >= _MOST]
    if not hits:
        return
    name, momentum = hits[0]
    other = _other(momentum)
    yield Found(
        name,
        f"momentum of `{name}` is {momentum:g}: torch gives that weight to each new batch, and forgets all before",
        0.9,
        (Evidence("momentum", momentum, "0.001 to 0.5"),),
        remedy=f"momentum={other:g}: torch's momentum is 1 − Keras's",
        code_lines=tuple(f"model.get_submodule({each!r}).momentum = {_other(m):g}" for each, m in hits),
        applicability="changes training",
        also=tuple(each for each, _ in hits[1:]),
    )


def _momentum(norm: Any) -> float:
    """Of running statistics; 0 where there are none, or all batches weigh alike."""
    momentum = getattr(norm, "momentum", None)
    held = norm._buffers.get("running_mean") is not None
    return float(momentum) if held and isinstance(momentum, int | float) else 0.0


def _other(momentum: float) -> float:
    return round(1 - momentum, 10) if momentum < 1 else 0.1


def _fix(setup: Setup, finding: Finding) -> Setup:
    for name in (finding.layer, *finding.also):
        norm: Any = setup.model.get_submodule(name)
        norm.momentum = _other(_momentum(norm))
    return setup


RULE = Rule(
    code="NW204",
    name="keras-momentum",
    summary="A momentum of 0.9 or more in a norm of torch, as Keras and TensorFlow write it.",
    why=(
        "torch: running = (1 − momentum)·running + momentum·batch. Keras: the other way around. Keras's 0.99 in torch "
        "makes the statistics of evaluation those of the last batch, with all of its noise."
    ),
    bad="nn.BatchNorm2d(64, momentum=0.99)",
    good="nn.BatchNorm2d(64, momentum=0.01)",
    check=_check,
    explains=frozenset({"NW303"}),
    fix=_fix,
    source="documentation of torch.nn.BatchNorm2d and keras.layers.BatchNormalization",
)
