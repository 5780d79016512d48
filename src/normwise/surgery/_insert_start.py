"""How norms that are put into a model start: as the identity, with the statistics of data, or as they are."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from normwise.errors import ArgumentError, explain
from normwise.graph.trace import arguments_of
from normwise.surgery._batches import Forward, batches_of, call, check_loader
from normwise.surgery._insert_places import Place
from normwise.surgery._moments import Moments
from normwise.surgery.recalibrate import recalibrate


def norm_at(model: nn.Module, target: str) -> nn.Module:
    """The norm inside of a layer, or behind an activation: `norm` in either."""
    return model.get_submodule(f"{target}.norm" if target else "norm")


def check_statistics(trial: nn.Module, places: Sequence[Place], *, identity: bool) -> None:
    """Raise `ArgumentError`, a ValueError, unless each norm has what is to be set at the start."""
    asked = "identity" if identity else "data"
    needed = ("running_mean", "running_var", "weight", "bias") if identity else ("running_mean",)
    what = "running statistics, a weight and a bias" if identity else "running statistics"
    for place in places:
        norm = norm_at(trial, place.target)
        if any(norm._buffers.get(name, norm._parameters.get(name)) is None for name in needed):
            must, hint = f"`{asked}` needs a norm with {what}", "use 'batch', or insert without it and train"
            raise ArgumentError(explain("insert", must, type(norm).__name__, hint))


def passes(
    example: Any, data: Iterable[Any] | None, forward: Forward | None, batches: int | None
) -> Callable[[nn.Module], None]:
    """What runs a model over the data, or the example where there is none."""

    def run(model: nn.Module) -> None:
        if data is None:
            arguments, named = arguments_of(example)
            model(*arguments, **named)
            return
        check_loader("insert", data, again=False, name="data")
        for batch in batches_of(data, batches):
            call(model, batch) if forward is None else forward(model, batch)

    return run


def started(
    model: nn.Module, trial: nn.Module, places: Sequence[Place], run: Callable[[nn.Module], None]
) -> dict[str, dict[str, Tensor]]:
    """Let each norm of the trial start as the identity in evaluation; the states of the norms by their places.

    What comes to a norm is then the same as in the model without norms, over which one pass tells all statistics.
    """
    original = copy.deepcopy(model).eval()
    seen: dict[str, Moments] = {}
    for place in places:
        norm: Any = norm_at(trial, place.target)
        zeros = torch.zeros(norm.num_features, dtype=torch.float64, device=norm.running_var.device)
        seen[place.target] = Moments(0, zeros, zeros.clone())
        original.get_submodule(place.target).register_forward_hook(
            lambda _, __, output, moments=seen[place.target]: moments.add(output)
        )
    with torch.random.fork_rng(), torch.no_grad():
        run(original)
    for place in places:
        moments, norm = seen[place.target], norm_at(trial, place.target)
        if moments.count < 2 or not bool(torch.isfinite(moments.mean + moments.squares).all()):
            got = f"{moments.count} values of `{place.target}`, or some that are not finite"
            must = "there must be two finite values of each channel or more to begin with"
            raise ArgumentError(explain("insert", must, got, "give a larger example, or `data`"))
        _start_as_identity(norm, moments, _bias_of(original, place))
    return _states(trial, places)


def calibrated(
    trial: nn.Module,
    places: Sequence[Place],
    data: Iterable[Any],
    forward: Forward | None,
    batches: int | None,
) -> dict[str, dict[str, Tensor]]:
    """Give the norms of the trial the statistics of the data; the states of the norms by their places."""
    names = [f"{place.target}.norm" if place.target else "norm" for place in places]
    check_loader("insert", data, again=False, name="data")
    if iter(data) is data:
        data = list(batches_of(data, batches))  # it is gone over once for each norm
    recalibrate(trial, data, forward=forward, how="sequential", where=names, batches=batches, inplace=True)
    return _states(trial, places)


def _states(trial: nn.Module, places: Sequence[Place]) -> dict[str, dict[str, Tensor]]:
    return {place.target: norm_at(trial, place.target).state_dict() for place in places}


def _bias_of(original: nn.Module, place: Place) -> Tensor | None:
    bias = original.get_submodule(place.layer)._parameters.get("bias")
    return bias.detach() if place.drops_bias and bias is not None else None


@torch.no_grad()
def _start_as_identity(norm: Any, moments: Moments, bias: Tensor | None) -> None:
    norm.running_var.copy_(moments.variance())
    norm.weight.copy_(torch.sqrt(norm.running_var.double() + norm.eps))
    norm.bias.copy_(moments.mean)
    # What the norm sees has no bias any more.
    norm.running_mean.copy_(moments.mean if bias is None else moments.mean - bias.double())


def check_identity(model: nn.Module, trial: nn.Module, example: Any) -> None:
    arguments, named = arguments_of(example)
    with torch.random.fork_rng(), torch.no_grad():
        pairs = [copy.deepcopy(each).eval()(*arguments, **named) for each in (model, trial)]
    before, after = ([t for t in tree_leaves(each) if isinstance(t, Tensor)] for each in pairs)
    for one, other in zip(before, after, strict=True):
        largest = float(one.abs().max()) if one.numel() else 0.0
        apart = float((one.double() - other.double()).abs().max()) if one.numel() else 0.0
        limit = max(1e-4, 16 * torch.finfo(one.dtype).eps) if one.is_floating_point() else 0.0
        if not apart <= limit * max(largest, 1e-30):
            raise ArgumentError(
                explain(
                    "insert",
                    "with `identity` the outputs on the example must stay the same",
                    f"a difference of {apart:.3g} in {largest:.3g}",
                    "a channel that is constant on the example cannot be taken back; give a larger example",
                )
            )
