"""One forward and one backward pass, looked at layer by layer; the model is as before afterwards."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import get_gradient_edge, saved_tensors_hooks
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from normwise.graph.trace import run_on
from normwise.kernels.registry import use_backend
from normwise.monitor.preserve import preserved
from normwise.monitor.signals import ACTIVATIONS, WEIGHTED

FLAT = 0.05
"""Where the slope of an activation is smaller, hardly any gradient passes."""

_DEAD = 1e-6
_BOUNDED = ("tanh", "sigmoid", "hardtanh", "softsign", "relu6", "hardswish")


@dataclass(frozen=True)
class LayerState:
    """A linear layer or convolution, and the activation that its outputs reach next.

    Attributes:
        name: dotted, in the model.
        kind: the class.
        activation: name of torch's function; "" for the output layer, and where none follows.
        units: output channels.
        fan_in: incoming weights of a unit.
        weight_rms: of the weight.
        weight_spread: standard deviation of the weight.
        input_rms: of what comes in.
        output_std: of what the layer gives, without the activation or a norm.
        pre_mean, pre_std: of what the activation receives; of the layer's outputs where none follows.
        mean, std: of what the activation gives.
        dead: share of units through which no gradient passes for any sample; None without an activation.
        flat: share of entries at which the slope of the activation is below `FLAT`.
        bounded: whether the activation is one that saturates at both ends.
        gradient_rms: of the loss's gradient with respect to what the activation receives.
        weight_gradient_rms: of the weight's gradient; None where it does not take part.
    """

    name: str
    kind: str
    activation: str
    units: int
    fan_in: int
    weight_rms: float
    weight_spread: float
    input_rms: float
    output_std: float
    pre_mean: float
    pre_std: float
    mean: float
    std: float
    dead: float | None
    flat: float | None
    bounded: bool
    gradient_rms: float | None
    weight_gradient_rms: float | None


@dataclass(frozen=True)
class Observation:
    """A batch that went through a model.

    Attributes:
        layers: in the order of calls, those without an activation among them.
        loss: of the batch in that mode.
        output_mean, output_std: of the model's outputs.
        output_shape: of the first of them.
        training: the mode.
        finite: whether outputs, loss and gradients are.
    """

    layers: tuple[LayerState, ...]
    loss: float
    output_mean: float
    output_std: float
    output_shape: tuple[int, ...]
    training: bool
    finite: bool

    @property
    def hidden(self) -> tuple[LayerState, ...]:
        """The layers with an activation."""
        return tuple(layer for layer in self.layers if layer.activation)


@dataclass
class _Seen:
    """What is known of a layer during a pass; numbers alone, so that no activation is held for it.

    Attributes:
        name, module: of the layer.
        input_rms, output_std: of what came in and went out.
        edge: leads to the gradient of what the activation received.
        pre, post: mean and standard deviation before and behind the activation.
        activation: its name.
        dead, flat: as in `LayerState`.
    """

    name: str
    module: nn.Module
    input_rms: float
    output_std: float
    edge: Any
    pre: tuple[float, float]
    post: tuple[float, float]
    activation: str = ""
    dead: float | None = None
    flat: float | None = None


def observe(
    model: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    loss: Callable[[Any, Tensor], Tensor],
    *,
    training: bool = True,
    gradients: bool = True,
) -> Observation:
    """Run a batch forward and backward; modes, buffers, gradients and random state stay as they were.

    Args:
        model: any module that takes the inputs.
        inputs, targets: the batch.
        loss: loss(output, targets) → scalar.
        training: the mode in which the model runs.
        gradients: run backward, too; without, all gradients are None.

    >>> net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    >>> seen = observe(net, torch.randn(16, 4), torch.zeros(16, 2), nn.functional.mse_loss)
    >>> [(layer.name, layer.activation) for layer in seen.layers]
    [('0', 'relu'), ('2', '')]
    """
    seen: list[_Seen] = []
    handles = []

    def layer_hook(name: str) -> Callable[..., None]:
        def note(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            if isinstance(output, Tensor) and not _in_backward():
                edge = get_gradient_edge(output) if output.requires_grad else None
                size = _rms(args[0]) if args else math.nan
                moments = _moments(output)
                seen.append(_Seen(name, module, size, moments[1], edge, moments, moments))

        return note

    for name, module in model.named_modules():
        if isinstance(module, WEIGHTED):
            handles.append(module.register_forward_hook(layer_hook(name)))
    try:
        graph = torch.set_grad_enabled(gradients)
        with preserved(model, training=training), use_backend("aten"), _Slopes(seen), graph:
            torch.manual_seed(0)
            output = run_on(model, inputs)
            value = loss(output, targets)
            found = _gradients(value, seen)
    finally:
        for handle in handles:
            handle.remove()
    outputs = [leaf for leaf in _tensors(output) if leaf.is_floating_point()]
    finite = all(bool(torch.isfinite(t).all()) for t in (value.detach(), *outputs))
    finite = finite and all(g is None or bool(torch.isfinite(g).all()) for pair in found for g in pair)
    whole = torch.cat([o.detach().flatten().float() for o in outputs]) if outputs else torch.zeros(1)
    layers = tuple(_state(entry, *pair) for entry, pair in zip(seen, found, strict=True))
    return Observation(
        layers,
        float(value.detach()),
        float(whole.mean()),
        float(whole.std(correction=0)),
        tuple(outputs[0].shape) if outputs else (),
        training,
        finite,
    )


class _Slopes(TorchFunctionMode):
    """Notes of each activation what it received and gave, and its slope, at the layer that came last."""

    def __init__(self, seen: list[_Seen]) -> None:
        super().__init__()
        self._seen = seen

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func not in ACTIVATIONS or not self._seen or self._seen[-1].activation or _in_backward():
            return func(*args, **kwargs)
        received = args[0] if args else kwargs["input"]
        entry = self._seen[-1]
        entry.activation = func.__name__.rstrip("_")
        entry.edge = get_gradient_edge(received) if received.requires_grad else None
        entry.pre = _moments(received)
        with torch.enable_grad(), saved_tensors_hooks(_as_it_is, _as_it_is):  # no checkpoint's
            again = received.detach().clone().requires_grad_(True)
            rest = {name: value for name, value in kwargs.items() if name not in ("input", "inplace")}
            plain = getattr(torch.nn.functional, entry.activation, func)
            values = plain(again, *[a for a in args[1:] if not isinstance(a, bool)], **rest)
            (slope,) = torch.autograd.grad(values.sum(), again)
        slope.abs_()
        units = slope.movedim(1, -1).flatten(0, -2) if slope.dim() > 1 else slope[:, None]
        entry.dead = float((units.amax(dim=0) <= _DEAD).float().mean()) if len(units) else None
        entry.flat = float((slope < FLAT).float().mean())
        output = func(*args, **kwargs)
        entry.post = _moments(output)
        return output


def _in_backward() -> bool:
    """Whether a checkpoint runs a part again, which was looked at before."""
    return bool(torch._C._current_graph_task_id() != -1)


def _as_it_is(saved: Tensor) -> Tensor:
    return saved


def _gradients(loss: Tensor, seen: list[_Seen]) -> list[tuple[Tensor | None, Tensor | None]]:
    """Of each layer the gradients of what its activation received, and of its weight."""
    sources: list[Any] = []
    for entry in seen:
        weight = _weight(entry.module)
        sources += [entry.edge, weight if weight is not None and weight.requires_grad else None]
    known = [source for source in sources if source is not None]
    if not known or not loss.requires_grad:
        return [(None, None) for _ in seen]
    found = iter(torch.autograd.grad(loss, known, allow_unused=True))
    values = [None if source is None else next(found) for source in sources]
    return list(zip(values[::2], values[1::2], strict=True))


def _state(entry: _Seen, gradient: Tensor | None, weight_gradient: Tensor | None) -> LayerState:
    module: Any = entry.module
    weight = module.weight.detach()
    units = module.out_features if isinstance(module, nn.Linear) else module.out_channels
    return LayerState(
        entry.name,
        type(module).__name__,
        entry.activation,
        units,
        max(1, weight.numel() // max(1, units)),
        _rms(weight),
        float(weight.float().std(correction=0)),
        entry.input_rms,
        entry.output_std,
        *entry.pre,
        *entry.post,
        entry.dead,
        entry.flat,
        entry.activation in _BOUNDED,
        None if gradient is None else _rms(gradient),
        None if weight_gradient is None else _rms(weight_gradient),
    )


def _weight(module: nn.Module) -> Tensor | None:
    """The leaf that is trained: of a parametrized weight the last of its originals."""
    parametrizations = getattr(module, "parametrizations", None)
    if parametrizations is not None and "weight" in parametrizations:
        originals: list[Tensor] = list(parametrizations["weight"].parameters())
        return originals[-1]
    # torch's older forms of weight and spectral normalization compute `weight` from these.
    names = ("weight", "weight_v", "weight_orig")
    return next((p for name in names if (p := module._parameters.get(name)) is not None), None)


def _moments(values: Tensor) -> tuple[float, float]:
    """Mean and standard deviation of all values."""
    std, mean = torch.std_mean(values.detach().float(), correction=0)
    return float(mean), float(std)


def _rms(values: Tensor) -> float:
    return float(values.detach().float().square().mean().sqrt()) if values.numel() else 0.0


def _tensors(output: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor)]
