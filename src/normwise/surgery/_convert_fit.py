"""Weight and bias of normalizations fitted to data, so that each channel keeps its mean and variance.

Layer by layer, in the order of their calls: a layer is fitted on what comes out of those before it, which are fitted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from normwise.errors import ArgumentError, explain
from normwise.layers._fused import Fused
from normwise.surgery._convert_alpha import fit_alpha
from normwise.surgery._convert_build import build
from normwise.surgery._convert_check import undisturbed
from normwise.surgery._convert_kinds import TRAILING, Target
from normwise.surgery._convert_moments import Pooled, rows
from normwise.surgery._convert_plan import Place

Forward = Callable[[nn.Module, Any], Any] | None
Visit = Callable[[Tensor, dict[str, Any]], None]
Observe = Callable[[Visit], None]

_ROUNDS = 8
_CLOSE = 1e-3


class _EnoughError(Exception):
    """All calls of the layer that is fitted have been seen."""


@dataclass(eq=False)
class _Layer:
    """A layer to be fitted: the new one, what the old one does, and what came out of that."""

    module: nn.Module
    old: nn.Module
    shape: tuple[int, ...]
    fresh: bool
    sign: Tensor | None
    wanted: Pooled
    calls: int = 0
    said: str = ""

    def by_channel(self, values: Tensor) -> Tensor:
        return rows(values, self.shape)


def run_batch(model: nn.Module, batch: Any, forward: Forward) -> None:
    """Run a model on a batch as a loader gives it: of a pair the first is the input, a mapping names arguments."""
    if forward is not None:
        forward(model, batch)
        return
    inputs = input_of(batch)
    model(**inputs) if isinstance(inputs, Mapping) else model(inputs)


def input_of(batch: Any) -> Any:
    """What of a batch goes into a model: all of it, or the first of a list or tuple."""
    return batch[0] if isinstance(batch, list | tuple) else batch


def fit(
    old: nn.Module, new: nn.Module, places: Mapping[str, Place], batches: Sequence[Any], forward: Forward
) -> dict[str, str]:
    """Fit the new model's layers at these places, in place; of each what is to be said.

    Both models are to be twins that may be run. Outputs of the old one, in evaluation, are the measure.

    Raises:
        ArgumentError: (a ValueError) a model does not run on a batch.
    """
    old.eval()
    new.eval()
    found = {name: _layer(new.get_submodule(name), place) for name, place in places.items()}
    order: list[str] = []
    with _running(), _watching(old, found, order):
        for batch in batches:
            run_batch(old, batch, forward)
    once = len(batches) == 1 and all(found[name].calls == 1 for name in order)
    with _running():
        if once:
            _in_one_pass([found[name] for name in order], new, batches[0], forward)
        else:
            for name in order:
                _by_sweeps(found[name], new, batches, forward)
    return {
        name: found[name].said if name in order else "not called on the data, and copied" for name in found
    }


def _layer(module: nn.Module, place: Place) -> _Layer:
    reading, built = place.reading, place.built
    if reading is None or built is None:
        raise TypeError("a place that is not converted has no layer to fit")
    same = build(replace(reading, finish={}), Target(reading.kind), reading.rank)
    if isinstance(same, str):
        raise TypeError(same)
    weight = module._parameters.get("weight")
    shape = tuple(weight.shape) if weight is not None else reading.shape
    shape = shape if reading.rank == TRAILING and len(shape) == len(reading.shape) else ()
    # Of the new weight, which is averaged where the old one had one value for each position.
    sign = None
    if weight is not None and reading.weight is not None:
        sign = torch.where(weight.detach() < 0, -1.0, 1.0).double()
    return _Layer(module, same.module.eval(), shape, built.fresh, sign, Pooled())


@contextmanager
def _running() -> Iterator[None]:
    try:
        with undisturbed():
            yield
    except ArgumentError:
        raise
    except Exception as error:
        lines = str(error).strip().splitlines() or [""]
        raise ArgumentError(
            explain(
                "convert",
                "the model must run on the batches of `data`",
                f"{type(error).__name__}: {lines[0]}",
                "give tensors, mappings of arguments, pairs whose first is the input, or `forward` to run one",
            )
        ) from error


@contextmanager
def _watching(model: nn.Module, layers: dict[str, _Layer], order: list[str]) -> Iterator[None]:
    """Gather what comes out of each old normalization while the block runs the old model."""

    def watch(name: str) -> Callable[..., None]:
        layer = layers[name]

        def see(module: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
            x, after = _input(arguments, named)
            layer.wanted.add(layer.by_channel(layer.old(x, **after)))
            layer.calls += 1
            if name not in order:
                order.append(name)

        return see

    handles = [
        model.get_submodule(name).register_forward_pre_hook(watch(name), with_kwargs=True) for name in layers
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _input(arguments: tuple[Any, ...], named: dict[str, Any]) -> tuple[Tensor, dict[str, Any]]:
    """The tensor that goes in, and weights of its elements if there are any."""
    x = arguments[0] if arguments else next(value for value in named.values() if isinstance(value, Tensor))
    weights = named.get("sample_weight")
    return x, {} if weights is None else {"sample_weight": weights}


def _in_one_pass(layers: list[_Layer], model: nn.Module, batch: Any, forward: Forward) -> None:
    """Of one batch a layer's input is all that it is fitted to: it is fitted when it is called, then goes on."""

    def fitting(layer: _Layer) -> Callable[..., None]:
        def hook(module: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
            x, after = _input(arguments, named)
            _fit(layer, lambda visit: visit(x, after), 1)

        return hook

    handles = [layer.module.register_forward_pre_hook(fitting(layer), with_kwargs=True) for layer in layers]
    try:
        run_batch(model, batch, forward)
    finally:
        for handle in handles:
            handle.remove()


def _by_sweeps(layer: _Layer, model: nn.Module, batches: Sequence[Any], forward: Forward) -> None:
    """Run all batches up to the layer, as often as it takes; one that feeds itself is fitted several times."""
    several = layer.calls > len(batches)

    def observe(visit: Visit) -> None:
        for batch in batches:
            _visit(layer, model, batch, forward, visit, to_the_end=several)

    for _ in range(_ROUNDS if several else 1):
        off = _fit(layer, observe, len(batches))
        if off < _CLOSE:
            break
    else:
        if several:
            layer.said += f"; called {layer.calls} times, after {_ROUNDS} rounds off by {off:.1%}"


def _visit(
    layer: _Layer, model: nn.Module, batch: Any, forward: Forward, visit: Visit, *, to_the_end: bool
) -> None:
    def hook(module: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        x, after = _input(arguments, named)
        visit(x, after)
        if not to_the_end:
            raise _EnoughError

    handle = layer.module.register_forward_pre_hook(hook, with_kwargs=True)
    try:
        run_batch(model, batch, forward)
    except _EnoughError:
        pass
    finally:
        handle.remove()


def _fit(layer: _Layer, observe: Observe, batches: int) -> float:
    """Fit a layer to its inputs; how far its outputs were off before, in standard deviations or in variance."""
    module: Any = layer.module
    said = []
    if layer.fresh:
        seen = Pooled()
        observe(lambda x, after: seen.add(layer.by_channel(x)))
        if seen.count > 1:
            module.running_mean.copy_(seen.mean)
            module.running_var.copy_(seen.var * seen.count / (seen.count - 1))
            module.num_batches_tracked.fill_(batches)
            said.append("running statistics of the data")
    if "alpha" in module._parameters:
        said.append(fit_alpha(module, layer.old, layer.by_channel, observe))
    unit = Pooled()

    def visit(x: Tensor, after: dict[str, Any]) -> None:
        unit.add(layer.by_channel(_unit_output(module, x, after)))

    observe(visit)
    off, words = _match(module, unit, layer.wanted, layer.sign)
    layer.said = "; ".join([*said, words])
    return off


def _unit_output(module: nn.Module, x: Tensor, after: dict[str, Any]) -> Tensor:
    """What the layer gives without weight, bias, activation and dropout."""
    held = dict(module._parameters)
    try:
        module._parameters.update({name: None for name in ("weight", "bias") if name in held})
        output: Tensor = (
            module.normalize(x, **after) if isinstance(module, Fused) else module.forward(x, **after)
        )
    finally:
        module._parameters.update(held)
    return output


def _match(module: nn.Module, unit: Pooled, wanted: Pooled, sign: Tensor | None) -> tuple[float, str]:
    """Set weight and bias so that what had the moments `unit` has those that are wanted."""
    weight, bias = module._parameters.get("weight"), module._parameters.get("bias")
    if weight is None:
        return 0.0, "no weight or bias to fit"
    if wanted.count < 2:
        return 0.0, "copied, since the data has one value per channel"
    if not all(bool(torch.isfinite(t).all()) for m in (unit, wanted) for t in (m.mean, m.var)):
        must = "what a normalization gives on `data` must be finite"
        raise ArgumentError(explain("convert", must, f"NaN or infinite values in a {type(module).__name__}"))
    flat = weight.detach().double().flatten()
    shift = torch.zeros_like(flat) if bias is None else bias.detach().double().flatten()
    spread = wanted.var.sqrt()
    off = (
        ((flat * unit.mean + shift - wanted.mean).abs() / spread.clamp_min(1e-12))
        if bias is not None
        else 0 * flat
    )
    off = torch.maximum(off, (flat.square() * unit.var / wanted.var.clamp_min(1e-24) - 1).abs())
    gain = (wanted.var / unit.var).sqrt() * (1.0 if sign is None else sign.flatten())
    still = ~torch.isfinite(gain)  # a channel that is constant here keeps its weight
    gain = torch.where(still, flat, gain)
    weight.copy_(gain.reshape(weight.shape))
    fitted = "weight"
    if bias is not None:
        bias.copy_((wanted.mean - gain * unit.mean).reshape(bias.shape))
        fitted = "weight and bias"
    words = f"{fitted} fitted to the data"
    if bias is None:
        words += ", the variance of each channel alone"
    constant = int((still | (unit.var == 0)).sum())
    if constant:
        words += f", but for the weights of {constant} channels that are constant there"
    return float(off[~still & (wanted.var > 0)].max()) if bool(
        (~still & (wanted.var > 0)).any()
    ) else 0.0, words
