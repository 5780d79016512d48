"""An eps that does nothing, or everything."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor

from normwise.diagnose.facts import Facts, NormState
from normwise.diagnose.norm_inputs import norm_inputs
from normwise.diagnose.rule import Found, Rule
from normwise.diagnose.subject import Setup
from normwise.results.diagnosis import Evidence, Finding

_TINY = 1e-15
"""Where the variance is zero, gradients are multiplied by 1/√eps: 3e7 here; BERT's 1e-12 is in use."""

_LARGE = 1e-3
"""Keras's, the largest default of a library."""

_RULES = 1.0
"""Times the typical variance: from there on, eps is more than half of what is divided by."""

_USUAL = 1e-5


def _check(facts: Facts) -> Iterator[Found]:
    known = [(state, eps) for state in facts.norms if (eps := _eps(state)) is not None]
    for state, eps in known:
        if not eps >= _TINY:
            yield _found(
                state, eps, f"`{state.name}` divides by √(variance + {eps:g}): nothing keeps it from zero"
            )
    large = [(state, eps) for state, eps in known if eps > _LARGE and state.calls]
    for state, eps, variance in _with_variances(facts, large):
        if eps > _RULES * variance:
            said = (
                f"eps of `{state.name}` is {eps:g}, beside a variance of {variance:.2g}: it hardly normalizes"
            )
            yield _found(state, eps, said, variance)


def _eps(state: NormState) -> float | None:
    """None where the layer chooses it by the dtype, or has none."""
    eps = getattr(state.module, "eps", None)
    return float(eps) if isinstance(eps, int | float) else None


def _found(state: NormState, eps: float, said: str, variance: float | None = None) -> Found:
    beside = (
        () if variance is None else (Evidence("typical variance of its input", variance, f"above {eps:g}"),)
    )
    certain = variance is not None or bool(state.constant)
    return Found(
        state.name,
        said,
        0.95 if certain else 0.8,
        (Evidence("eps", eps, "1e-8 to 1e-3"), *beside),
        remedy=f"eps={_USUAL:g}, as torch's layers have it",
        code_lines=(f"model.get_submodule({state.name!r}).eps = {_USUAL:g}",),
        applicability="changes training",
    )


def _with_variances(
    facts: Facts, norms: list[tuple[NormState, float]]
) -> Iterator[tuple[NormState, float, float]]:
    """Norms and their eps, with the variance that it is added to: the median over a norm's statistics."""
    if norms:
        got = norm_inputs(facts.subject.model, facts.subject.inputs, [state.name for state, _ in norms])
        for state, eps in norms:
            if state.name in got:
                yield state, eps, _typical(got[state.name], state.module, state.kind)


def _typical(x: Tensor, module: Any, kind: str) -> float:
    if kind in ("layer", "rms"):
        axes = len(module.normalized_shape) if hasattr(module, "normalized_shape") else x.dim() - 1
        rows = x.flatten(-axes) if axes > 1 else x
    elif kind == "group":
        rows = x.reshape(len(x), module.num_groups, -1)
    else:
        rows = x.transpose(0, 1).flatten(1)
    spread = rows.square().mean(dim=-1) if kind == "rms" else rows.var(dim=-1, correction=0)
    return float(spread.median())


def _fix(setup: Setup, finding: Finding) -> Setup:
    norm: Any = setup.model.get_submodule(finding.layer)
    norm.eps = _USUAL
    return setup


RULE = Rule(
    code="NW201",
    name="eps-against-dtype",
    summary="An eps so small that a constant input divides by zero, or larger than the variance it is added to.",
    why=(
        "A norm divides by √(variance + eps). With eps 0 a channel that is constant, as one of dead units is, gives "
        "NaN, and with a tiny one gradients of 1/√eps. With an eps above the variance the norm divides by about √eps, "
        "whatever comes in: it normalizes no more."
    ),
    bad="nn.BatchNorm2d(64, eps=0.0)",
    good="nn.BatchNorm2d(64)  # eps=1e-5",
    check=_check,
    explains=frozenset({"NW203", "NW405", "NW505", "NW501", "NW507", "NW509", "NW512"}),
    fix=_fix,
    source="(x − mean) / √(var + eps): Ioffe & Szegedy 2015, algorithm 1; defaults of torch, Keras and transformers",
)
