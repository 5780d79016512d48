"""What goes on inside a network, layer by layer, measured on one fixed batch in training mode.

A hidden layer is a Linear or convolution together with the activation that its output reaches next: one of torch's
functions, or a normalization that holds an activation of its own. What the activation receives is the layer's
pre-activation, what it returns is the layer's activation. Axes: N samples, C channels (units), S positions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.nn import functional as F  # noqa: N812 - torch's own abbreviation
from torch.overrides import TorchFunctionMode
from torch.utils.hooks import RemovableHandle

from normwise import layers
from normwise.kernels.registry import use_backend
from normwise.monitor.preserve import preserved
from normwise.results import LayerSignals

WEIGHTED = (nn.Linear, nn.modules.conv._ConvNd)
_NAMES = (
    "relu leaky_relu rrelu prelu relu6 gelu silu tanh sigmoid elu selu celu softplus mish hardswish hardtanh"
)
ACTIVATIONS: frozenset[Any] = frozenset(
    getattr(owner, name + suffix)
    for owner in (F, torch, Tensor)
    for name in _NAMES.split()
    for suffix in ("", "_")
    if hasattr(owner, name + suffix)
)
"""Torch's activation functions; its modules call them."""

OWN_ACTIVATION: tuple[type[nn.Module], ...] = tuple(
    getattr(layers, name.replace("#", str(rank)))
    for name in ("FilterResponseNorm#d", "EvoNorm#dB0", "EvoNorm#dS0")
    for rank in (1, 2, 3)
)
"""Normalizations that stand in the place of an activation."""

_CLOSED = (
    *OWN_ACTIVATION,
    layers.DynamicTanh,
    layers.DynamicTanh1d,
    layers.DynamicTanh2d,
    layers.DynamicTanh3d,
)
"""Layers whose calls of torch's activation functions are a part of their formula."""

QUANTILES = (0.15, 0.5, 0.85)
_MOST_SAMPLES = 4096  # of N·S in a correlation: its error is below .02 then, and its cost bounded


class SignalProbe:
    """Measures `LayerSignals` of a model on a batch; the model is as before after each measurement.

    Args:
        model: any module whose hidden layers are Linear or convolutions followed by torch's activations, as modules
            or as functions, or by one of `OWN_ACTIVATION`.
        inputs, targets: the batch; the same one each time, so that measurements differ by the model alone.
        loss: loss(output, targets) → scalar.

    >>> net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    >>> probe = SignalProbe(net, torch.randn(16, 4), torch.zeros(16, 2), nn.functional.mse_loss)
    >>> probe.layers
    ('0',)
    >>> len(probe.measure(step=0).gradient_rms)
    1
    """

    def __init__(
        self, model: nn.Module, inputs: Tensor, targets: Tensor, loss: Callable[[Tensor, Tensor], Tensor]
    ) -> None:
        self._model, self._inputs, self._targets, self._loss = model, inputs, targets, loss
        self._hidden, sizes = self._hidden_layers()
        self.layers: tuple[str, ...] = tuple(name for name, _, _ in self._hidden)
        self.sizes: tuple[int, ...] = tuple(sizes[ordinal] for _, _, ordinal in self._hidden)

    def _hidden_layers(self) -> tuple[list[tuple[str, nn.Module, int]], list[int]]:
        """Weighted modules whose output reaches an activation next, with the ordinal of that activation's call.

        Also, for each call of an activation, the number of elements that it gets for one sample.
        """
        calls: list[tuple[str, nn.Module | None, Tensor]] = []

        def watch(name: str) -> Callable[..., None]:
            def note(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
                calls.append((name, module, args[0] if args else next(iter(kwargs.values()))))

            return note

        def activated(received: Tensor) -> None:
            calls.append(("", None, received))

        handles = [
            module.register_forward_pre_hook(watch(name), with_kwargs=True)
            for name, module in self._model.named_modules()
            if isinstance(module, WEIGHTED)
        ]
        try:
            with preserved(self._model, training=True), torch.no_grad(), _Activations(self._model, activated):
                torch.manual_seed(0)  # the same path through a network that draws one
                self._model(self._inputs)
        finally:
            for handle in handles:
                handle.remove()
        hidden: list[tuple[str, nn.Module, int]] = []
        sizes: list[int] = []
        latest: tuple[str, nn.Module] | None = None
        read: list[Tensor] = []
        for name, module, received in calls:
            if module is None:
                if latest is not None:
                    hidden.append((*latest, len(sizes)))
                sizes.append(received[0].numel())
                latest, read = None, []
            elif not any(received is other for other in read):  # a shortcut reads what the main path reads
                latest = (name, module)
                read.append(received)
        return hidden, sizes

    def measure(self, step: int) -> LayerSignals:
        """One forward and one backward pass outside of training."""
        calls: list[tuple[GradientEdge | None, Tensor, Tensor]] = []

        def watch(received: Tensor) -> Callable[[Tensor], None]:
            # Taken before the call, which may work in place: the edge still leads to the gradient of this value.
            edge = get_gradient_edge(received) if received.requires_grad else None
            value = received.detach().clone()
            return lambda output: calls.append((edge, value, output.detach().clone()))

        with preserved(self._model, training=True), _Activations(self._model, watch):
            torch.manual_seed(0)  # the same dropout masks at every step
            loss = self._loss(self._model(self._inputs), self._targets)
            edges = [calls[ordinal][0] for _, _, ordinal in self._hidden]
            weights = [_trained_weight(module) for _, module, _ in self._hidden]
            sources = [*edges, *(weight if weight.requires_grad else None for weight in weights)]
            # Before buffers are put back: a backward pass must not find them changed.
            gradients = _gradients(loss, sources)
        inputs = [calls[ordinal][1] for _, _, ordinal in self._hidden]
        outputs = [calls[ordinal][2] for _, _, ordinal in self._hidden]
        with torch.no_grad():
            rows = [_rows(output) for output in outputs]
            return LayerSignals(
                step=step,
                gradient_rms=tuple(_rms(g) for g in gradients[: len(inputs)]),
                weight_gradient_rms=tuple(_rms(g) for g in gradients[len(inputs) :]),
                activation_mean=tuple(_finite(output.mean()) for output in outputs),
                activation_std=tuple(_finite(output.std(correction=0)) for output in outputs),
                dead_fraction=tuple(_finite((r == 0).all(dim=0).float().mean()) for r in rows),
                correlation=tuple(_correlation(r) for r in rows),
                percentiles=_percentiles(inputs[-1]) if inputs else (None, None, None),
            )


Watch = Callable[[Tensor], Callable[[Tensor], None] | None]
"""Gets what an activation receives, and gives what gets its output."""


class _Activations(TorchFunctionMode):
    """Hands each activation of a model to `watch`, before it runs.

    Torch's operators are asked for meanwhile: a kernel that does an activation in the same pass calls no function for
    it.
    """

    def __init__(self, model: nn.Module, watch: Watch) -> None:
        super().__init__()
        self._model = model
        self._watch = watch
        self._backend = use_backend("aten")
        self._inside: list[Callable[[Tensor], None] | None] = []  # of closed layers, the innermost last
        self._handles: list[RemovableHandle] = []

    def __enter__(self) -> Any:
        for module in self._model.modules():
            if isinstance(module, _CLOSED):
                self._handles.append(module.register_forward_pre_hook(self._enter_layer))
                self._handles.append(module.register_forward_hook(self._leave_layer))
        self._backend.__enter__()
        return super().__enter__()  # type: ignore[no-untyped-call]

    def __exit__(self, *raised: Any) -> None:
        super().__exit__(*raised)  # type: ignore[no-untyped-call]
        self._backend.__exit__(*raised)
        for handle in self._handles:
            handle.remove()

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func not in ACTIVATIONS or self._inside:
            return func(*args, **kwargs)
        done = self._watch(args[0] if args else kwargs["input"])
        output = func(*args, **kwargs)
        if done is not None:
            done(output)
        return output

    def _enter_layer(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        # A filter response normalization without its threshold leaves the activation to what follows.
        whole = isinstance(module, OWN_ACTIVATION) and getattr(module, "threshold", True) and not self._inside
        self._inside.append(self._watch(args[0]) if whole else None)

    def _leave_layer(self, module: nn.Module, args: tuple[Any, ...], output: Tensor) -> None:
        done = self._inside.pop()
        if done is not None:
            done(output)


def _gradients(loss: Tensor, sources: Sequence[GradientEdge | Tensor | None]) -> list[Tensor | None]:
    """Gradients of the loss; None for what does not take part in it."""
    known: list[Any] = [source for source in sources if source is not None]
    found = iter(torch.autograd.grad(loss, known, allow_unused=True) if known else ())
    return [None if source is None else next(found) for source in sources]


def _trained_weight(module: nn.Module) -> Tensor:
    """The direction v of a weight-normalized module, else the weight itself."""
    parametrizations = getattr(module, "parametrizations", None)
    if parametrizations is not None and "weight" in parametrizations:
        originals = parametrizations["weight"]
        return originals.original1 if hasattr(originals, "original1") else originals.original  # type: ignore[no-any-return]
    return module.weight  # type: ignore[return-value]


def _rows(output: Tensor) -> Tensor:
    """(N, C, *S) → (N·S, C)."""
    return output.movedim(1, -1).reshape(-1, output.shape[1])


def _finite(value: Tensor) -> float | None:
    number = float(value)
    return number if math.isfinite(number) else None


def _rms(gradient: Tensor | None) -> float | None:
    return None if gradient is None else _finite(gradient.square().mean().sqrt())


def _correlation(rows: Tensor) -> float | None:
    """Mean absolute Pearson correlation between different channels; constant channels are left out."""
    if len(rows) > _MOST_SAMPLES:
        rows = rows[:: len(rows) // _MOST_SAMPLES + 1]
    centred = rows - rows.mean(dim=0)
    norms = centred.norm(dim=0)
    alive = norms > 1e-6 * rows.abs().amax(dim=0).clamp_min(1e-30) * len(rows) ** 0.5
    count = int(alive.sum())
    if count < 2:
        return None
    unit = centred[:, alive] / norms[alive]
    matrix = (unit.T @ unit).abs_()
    return _finite((matrix.sum() - matrix.diagonal().sum()) / (count * (count - 1)))


def _percentiles(pre_activation: Tensor) -> tuple[float | None, float | None, float | None]:
    """Percentiles over N (and S) of the first unit: the paper's "typical" unit, chosen before looking."""
    values = pre_activation[:, 0].reshape(-1)
    if len(values) > _MOST_SAMPLES:
        values = values[:: len(values) // _MOST_SAMPLES + 1]
    low, middle, high = (_finite(q) for q in torch.quantile(values, values.new_tensor(QUANTILES)))
    return low, middle, high
