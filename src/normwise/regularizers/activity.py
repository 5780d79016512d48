"""Penalties on what modules put out, gathered by hooks while the model runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Any, Self

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from normwise.errors import ArgumentError, explain
from normwise.layers._recompute import in_recomputation
from normwise.regularizers._blocks import added, wide


class ActivityPenalty:
    """Penalise activations: ``(l1 · Σ|a| + l2/2 · Σa²) / N`` over the outputs of chosen modules, N rows in the batch.

    ``attach(model)`` sets hooks, `detach()` takes them away, and ``with penalty.attach(model):`` does both. After a
    forward pass of the model, ``penalty()`` gives the value for that pass, to be added to the loss, and forgets it; a
    pass whose value is not asked for is forgotten at the next one, so that no graph outlives a step. A module that
    runs twice in a pass counts twice. What activation checkpointing computes again counts once; its reentrant form
    runs the first time without gradients and so hides them from the penalty: pass ``use_reentrant=False``.

    An output that the next module overwrites in place (``nn.ReLU(inplace=True)``) raises in the backward pass, as it
    does in torch wherever such a value is needed: name that next module. Copies and pickles of an attached model
    leave this penalty alone.

    Args:
        modules: classes of modules or dotted names in the model, whose outputs are penalised. Of several outputs, as
            of recurrent layers, the first is meant.
        l1: strength of the absolute values, finite and ≥ 0; sparse activations.
        l2: strength of the squares, with a half, as in `L2`.

    The value has the activations' dtype, float32 where that is a 16-bit one. Keras's ``ActivityRegularization(l1,
    l2)`` divides by the batch as well and has no half: it equals ``l2=2 * l2`` here.

    Raises:
        ArgumentError: a wrong argument; `attach` finds none of the modules or is attached already; a call before the
            model ran.

    Source: Merity et al., "Revisiting activation regularization for language RNNs", 2017, for L2; Glorot et al.,
    "Deep sparse rectifier neural networks", 2011, for L1.

    Example:
        >>> import torch
        >>> model = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
        >>> penalty = ActivityPenalty([nn.ReLU], l1=0.5)
        >>> with penalty.attach(model):
        ...     output = model(torch.randn(4, 2))
        ...     torch.equal(penalty(), 0.5 * output.sum() / 4)
        True
    """

    def __init__(self, modules: Sequence[type[nn.Module] | str], *, l1: float = 0.0, l2: float = 0.0) -> None:
        self.l1, self.l2 = _strength("l1", l1), _strength("l2", l2)
        self.modules = _chosen(modules)
        self._handles: list[RemovableHandle] = []
        self._parts: list[Tensor] = []

    def attach(self, model: nn.Module) -> Self:
        """Set hooks on the modules of `model` that were chosen, and return the penalty."""
        if self._handles:
            raise _misuse("must be detached before it is attached again", "an attached one", "call detach()")
        found = _found(model, self.modules)
        self._handles = [model.register_forward_pre_hook(_Hook(self._forget))]
        self._handles += [module.register_forward_hook(_Hook(self._record)) for module in found]
        return self

    def detach(self) -> None:
        """Take the hooks away, and forget what they gathered."""
        for handle in self._handles:
            handle.remove()
        self._handles, self._parts = [], []

    def __call__(self) -> Tensor:
        """Return the value of the last forward pass as a scalar to add to the loss, and forget it.

        Raises:
            ArgumentError: no chosen module ran since the last call.
        """
        if not self._parts:
            raise _misuse(
                "a chosen module must have run since the last call",
                "none",
                "attach(model), run the model, then ask once",
            )
        parts, self._parts = self._parts, []
        return added(parts)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.detach()

    def __getstate__(self) -> dict[str, Any]:
        # A copy is attached to nothing, and graphs cannot be copied.
        return self.__dict__ | {"_handles": [], "_parts": []}

    def __repr__(self) -> str:
        names = ", ".join(m if isinstance(m, str) else m.__name__ for m in self.modules)
        return f"ActivityPenalty([{names}], l1={self.l1!r}, l2={self.l2!r})"

    def _forget(self, *_: Any) -> None:
        if not in_recomputation():
            self._parts = []

    def _record(self, module: nn.Module, inputs: Any, output: Any) -> None:
        first = output[0] if isinstance(output, tuple | list) and output else output
        if not isinstance(first, Tensor):
            raise _misuse(
                "a chosen module must put out a tensor, or several",
                f"a {type(first).__name__} of {type(module).__name__}",
                "choose a module inside of it",
            )
        # A recomputation has to do what the first pass did, or checkpointing misses the tensors saved for backward.
        part = self._cost(wide(first)) / max(1, first.shape[0] if first.dim() else 1)
        if not in_recomputation():
            self._parts.append(part)

    def _cost(self, activations: Tensor) -> Tensor:
        parts = []
        if self.l1:
            parts.append(self.l1 * activations.abs().sum())
        if self.l2 or not parts:
            parts.append(self.l2 / 2 * activations.square().sum())
        return added(parts)


class _Hook:
    """A hook that is idle in a copy of the model: a copy's activations are not this penalty's."""

    def __init__(self, call: Callable[..., None] | None) -> None:
        self._call = call

    def __call__(self, *args: Any) -> None:
        if self._call is not None:
            self._call(*args)

    def __deepcopy__(self, memo: dict[int, Any]) -> _Hook:
        return _Hook(None)

    def __reduce__(self) -> tuple[type[_Hook], tuple[None]]:
        return _Hook, (None,)


def _strength(name: str, value: float) -> float:
    if not (math.isfinite(value) and value >= 0):
        raise _misuse(f"`{name}` must be finite and not negative", repr(value))
    return float(value)


def _chosen(modules: Iterable[type[nn.Module] | str]) -> tuple[type[nn.Module] | str, ...]:
    alone = isinstance(modules, str | type)
    chosen = () if alone else tuple(modules)
    if not chosen or not all(
        isinstance(m, str) or (isinstance(m, type) and issubclass(m, nn.Module)) for m in chosen
    ):
        raise _misuse(
            "`modules` must be a non-empty sequence of module classes or names",
            repr(modules),
            "write [torch.nn.ReLU] for one class",
        )
    return chosen


def _found(model: nn.Module, chosen: Sequence[type[nn.Module] | str]) -> list[nn.Module]:
    classes = tuple(m for m in chosen if not isinstance(m, str))
    named = dict(model.named_modules(remove_duplicate=False))
    for name in chosen:
        if isinstance(name, str) and name not in named:
            raise _misuse("the model must have the modules that are named", f"no {name!r}")
    wanted = {id(named[name]) for name in chosen if isinstance(name, str)}
    found = [m for m in model.modules() if isinstance(m, classes) or id(m) in wanted]
    if not found:
        names = ", ".join(c.__name__ for c in classes)
        raise _misuse(f"the model must have a module of {names}", f"a {type(model).__name__} without one")
    return found


def _misuse(must: str, got: str, hint: str | None = None) -> ArgumentError:
    return ArgumentError(explain("ActivityPenalty", must, got, hint))
