"""An eps that does nothing, or everything."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from normwise.diagnose.facts import Facts, NormState
from normwise.diagnose.rule import Found, Rule
from normwise.diagnose.subject import Setup
from normwise.monitor.preserve import preserved
from normwise.results.diagnosis import Evidence, Finding

_TINY = 1e-15
"""Where the variance is zero, gradients are multiplied by 1/√eps: 3e7 here; BERT's 1e-12 is in use."""

_LARGE = 1e-3
"""Keras's, the largest default of a library."""

_RULES = 1.0
"""Times the typical variance: from there on, eps is more than half of what is divided by."""

_USUAL = 1e-5


def _check(facts: Facts) -> Iterator[Found]:
    with_eps = [(state, _eps(state)) for state in facts.norms if _eps(state) is not None]
    for state, eps in with_eps:
        assert eps is not None
        if not eps >= _TINY:
            yield _found(
                state, eps, f"`{state.name}` divides by √(variance + {eps:g}): nothing keeps it from zero"
            )
    large = [(state, eps) for state, eps in with_eps if eps is not None and eps > _LARGE and state.calls]
    variances = _variances(facts, [state.name for state, _ in large]) if large else {}
    for state, eps in large:
        variance = variances.get(state.name)
        if variance is not None and eps is not None and eps > _RULES * variance:
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


def _variances(facts: Facts, names: list[str]) -> dict[str, float]:
    """Of each norm the median, over its statistics, of the variance that eps is added to."""
    seen: dict[str, float] = {}
    kinds = {state.name: state.kind for state in facts.norms}
    model, inputs = facts.subject.model, facts.subject.inputs

    def watch(name: str) -> Callable[..., None]:
        def note(module: nn.Module, args: tuple[Any, ...]) -> None:
            seen.setdefault(name, _typical(args[0].detach().float(), module, kinds[name]))

        return note

    handles = [model.get_submodule(name).register_forward_pre_hook(watch(name)) for name in names]
    try:
        with preserved(model, training=True), torch.no_grad():
            torch.manual_seed(0)
            model(*([inputs] if isinstance(inputs, Tensor) else tree_leaves(inputs)))
    finally:
        for handle in handles:
            handle.remove()
    return seen


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
