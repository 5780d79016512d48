"""What the first forward pass of a step shows, by hooks that are there for that pass alone.

Hooks look and touch nothing: they draw no random numbers, keep copies of few entries, and leave the graph as it is.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.hooks import RemovableHandle

from normwise.layers._fused import Fused
from normwise.monitor.places import Place, channel_axis, has_running, makes_invariant, rows
from normwise.monitor.signals import _CLOSED, ACTIVATIONS, OWN_ACTIVATION


@dataclass
class Seen:
    """A weighted layer during the pass.

    Attributes:
        place: the layer.
        training: its mode.
        received: rows of what the activation receives, of the layer's output where none follows.
        given: rows of what the activation gives; None where none follows.
        activation: its name.
        derivative: of it, at rows; None where it is not known.
        by_units: whether columns of the rows are units of the layer.
        normalized: whether a norm follows directly.
    """

    place: Place
    training: bool
    received: Tensor
    given: Tensor | None = None
    activation: str = ""
    derivative: Callable[[Tensor], Tensor] | None = None
    by_units: bool = True
    normalized: bool = False


@dataclass
class SeenNorm:
    """A batch normalization during the pass: rows of its input, and its statistics before it."""

    name: str
    module: nn.Module
    training: bool
    received: Tensor
    running_mean: Tensor
    running_var: Tensor


class Watch:
    """Watches a model until its first whole forward pass is over, or until it is closed.

    Attributes:
        layers: what was seen, by name, in the order of calls.
        norms: batch normalizations with running statistics.
        traced: whether a compiler traced the model meanwhile.
        seconds: that the hooks took.
    """

    def __init__(self, model: nn.Module, places: tuple[Place, ...]) -> None:
        self.layers: dict[str, Seen] = {}
        self.norms: dict[str, SeenNorm] = {}
        self.traced = False
        self.seconds = 0.0
        self._root = model
        self._places = {id(place.module): place for place in places}
        self._names = {id(module): name for name, module in model.named_modules()}
        self._depth = 0
        self._closed = 0  # depth of layers whose calls of activation functions are a part of their formula
        self._mode = _Functions(self)
        self._output: Tensor | None = None
        self._latest: Seen | None = None
        self._handles: list[RemovableHandle] = []

    def open(self) -> None:
        """Put hooks on every module."""
        for module in self._root.modules():
            self._handles.append(module.register_forward_pre_hook(Tap(self, self._before)))
            self._handles.append(module.register_forward_hook(Tap(self, self._after), always_call=True))

    def close(self) -> None:
        """Take them away."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._output = None

    def _before(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        if self._depth == 0 and torch.is_grad_enabled():
            self._mode.__enter__()  # type: ignore[no-untyped-call]
            self._mode.entered = True
        self._depth += 1
        self._closed += isinstance(module, _CLOSED)
        if torch.is_grad_enabled() and args and _is_plain(args[0]):
            self._before_norm(module, args[0])

    def _before_norm(self, module: nn.Module, received: Tensor) -> None:
        latest = self._latest
        if latest and not latest.activation and received is self._output and makes_invariant(module):
            latest.normalized = True
        name = self._names[id(module)]
        if has_running(module) and name not in self.norms and received.dim() > 1:
            mean, var = module.running_mean, module.running_var
            values = rows(received, 1 - received.dim())
            self.norms[name] = SeenNorm(name, module, module.training, values, mean.clone(), var.clone())  # type: ignore[operator]

    def _after(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        self._depth -= 1
        self._closed -= isinstance(module, _CLOSED)
        if torch.is_grad_enabled() and _is_plain(output):
            if id(module) in self._places:
                self._after_layer(self._places[id(module)], output)
            elif isinstance(module, (Fused, *OWN_ACTIVATION)):
                self._after_fused(module, output)
        if self._depth == 0 and self._mode.entered:
            self._mode.entered = False
            self._mode.__exit__(None, None, None)  # type: ignore[no-untyped-call]
            if self.layers and (module is self._root or len(self.layers) == len(self._places)):
                self.close()

    def _after_layer(self, place: Place, output: Tensor) -> None:
        self._output = output
        self._latest = None
        if place.name not in self.layers and output.dim() >= -place.axis:
            self._latest = Seen(place, place.module.training, rows(output, place.axis))
            self.layers[place.name] = self._latest

    def _after_fused(self, module: nn.Module, output: Tensor) -> None:
        """A layer with an activation of its own, which may be done by a kernel: only the output can be seen."""
        seen, name = self._latest, getattr(module, "activation", type(module).__name__)
        if seen is None or seen.activation or name == "none" or not getattr(module, "threshold", True):
            return
        seen.activation, seen.given = name, self._rows(seen, output)

    def activated(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call one of torch's activation functions, and note what it did for the layer before it."""
        began = time.perf_counter()
        seen = self._latest
        received = args[0] if args else kwargs["input"]
        if seen is None or seen.activation or self._closed or not _is_plain(received):
            return function(*args, **kwargs)
        seen.activation = function.__name__.rstrip("_")
        seen.received = self._rows(seen, received)
        if seen.activation != "rrelu":  # whose slopes are drawn
            seen.derivative = _derivative(function, seen.activation, args[1:], kwargs)
        self.seconds += time.perf_counter() - began
        output = function(*args, **kwargs)
        began = time.perf_counter()
        seen.given = self._rows(seen, output)
        self.seconds += time.perf_counter() - began
        return output

    def _rows(self, seen: Seen, values: Tensor) -> Tensor:
        axis = channel_axis(seen.place, values)
        seen.by_units = seen.by_units and axis is not None
        return rows(values, -1 if axis is None else axis) if values.dim() else values.detach().reshape(1, 1)


class Tap:
    """A hook that stays with its module: in a copy or a pickle of the module it does nothing."""

    def __init__(self, watch: Watch | None = None, do: Callable[..., None] | None = None) -> None:
        self._watch, self._do = watch, do

    def __call__(self, *call: Any) -> None:
        """Pass the call on, and count the time."""
        if self._watch is None or self._do is None:
            return
        if torch.compiler.is_compiling():
            self._watch.traced = not torch.compiler.is_exporting()
            return
        began = time.perf_counter()
        with torch._C.DisableTorchFunction():
            self._do(*call)
        self._watch.seconds += time.perf_counter() - began

    def __deepcopy__(self, memo: dict[int, Any]) -> Tap:
        return Tap()

    def __reduce__(self) -> tuple[type[Tap], tuple[()]]:
        return Tap, ()


class _Functions(TorchFunctionMode):
    """Hands calls of activation functions to a watch."""

    def __init__(self, watch: Watch) -> None:
        super().__init__()
        self._watch = watch
        self.entered = False

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if torch.compiler.is_compiling():
            self._watch.traced = not torch.compiler.is_exporting()
        elif func in ACTIVATIONS:
            return self._watch.activated(func, args, kwargs or {})
        return func(*args, **(kwargs or {}))


def _is_plain(value: Any) -> bool:
    """Whether a value is a tensor of numbers that lie in memory, and not nested, sparse or wrapped by a transform."""
    return (
        isinstance(value, Tensor)
        and value.layout == torch.strided
        and not value.is_nested
        and value.is_floating_point()
        and not torch._C._functorch.is_functorch_wrapped_tensor(value)
    )


def _derivative(
    function: Any, name: str, further: tuple[Any, ...], options: dict[str, Any]
) -> Callable[[Tensor], Tensor]:
    """Of an activation, to be asked for after the pass: a checkpoint counts what is saved during it."""
    plain = getattr(nn.functional, name, function)
    rest = {key: value for key, value in options.items() if key not in ("input", "inplace")}
    values = [value for value in further if not isinstance(value, bool)]

    def derivative(received: Tensor) -> Tensor:
        with torch.enable_grad():
            start = received.clone().requires_grad_(True)
            (slope,) = torch.autograd.grad(plain(start, *values, **rest).sum(), start)
        return slope

    return derivative
