"""Twins of a model, and whether a converted one runs, is finite and keeps its shapes; nothing of it is touched."""

from __future__ import annotations

import copy
import random
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from normwise.errors import ArgumentError, explain
from normwise.graph.trace import arguments_of, why_not_copied

Twin = Callable[[nn.Module], nn.Module]

_TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-4}


def twin(model: nn.Module, *, parameters: bool = False) -> nn.Module:
    """A copy to run: buffers of its own, and the very parameters unless it is to have its own, too.

    Raises:
        ArgumentError: (a ValueError) the model cannot be copied.
    """
    memo: dict[int, Any] = (
        {} if parameters else {id(parameter): parameter for parameter in model.parameters()}
    )
    try:
        made: nn.Module = copy.deepcopy(model, memo)
    except Exception as error:
        # Any class may have its own idea of copying, and with it its own exceptions.
        must = "the model must be one that `copy.deepcopy` copies, to be tried on the example"
        untried = "leave `example` and `data` away to convert it untried"
        got, hint = why_not_copied(model) or (f"{type(error).__name__}: {error}", untried)
        raise ArgumentError(explain("convert", must, got, hint)) from error
    return made


@contextmanager
def undisturbed() -> Iterator[None]:
    """Run without gradients; random states are given back, and warnings are not shown."""
    state = random.getstate()
    try:
        with torch.random.fork_rng(), warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            yield
    finally:
        random.setstate(state)


def leaves(nested: Any, depth: int = 3) -> Iterator[Tensor]:
    """The tensors in what a model returned, in attributes of objects, too."""
    for leaf in tree_leaves(nested):
        if isinstance(leaf, Tensor):
            yield leaf
        elif depth and not isinstance(leaf, type) and isinstance(getattr(leaf, "__dict__", None), dict):
            yield from leaves(vars(leaf), depth - 1)


@dataclass(frozen=True, eq=False)
class _Run:
    """One forward pass: what came out, or the error."""

    outputs: list[Tensor]
    error: str = ""

    @property
    def finite(self) -> bool:
        return all(bool(torch.isfinite(t).all()) for t in self.outputs if t.is_floating_point())

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        return [tuple(t.shape) for t in self.outputs]


def _run(model: nn.Module, example: Any, training: bool) -> _Run:
    arguments, named = arguments_of(copy.deepcopy(example))
    try:
        with undisturbed():
            torch.manual_seed(0)
            return _Run(list(leaves(model.train(training)(*arguments, **named))))
    except Exception as error:
        # Whatever a model raises is what it does on this input.
        lines = str(error).strip().splitlines() or [""]
        return _Run([], f"{type(error).__name__}: {lines[0]}")


def check(old: nn.Module, new: Twin, example: Any, *, equal: bool) -> list[str]:
    """Run both models on the example and on random numbers like it, in both modes.

    Where the old one runs, the new one must run; where its outputs are finite, they must be; shapes must be the same,
    and where `equal` outputs of evaluation too, in float64 and in the model's own precision.

    Args:
        old: the model as it was given.
        new: from a copy of it to a converted one.
        example: its input.
        equal: whether the conversion is one that keeps evaluation.

    Returns:
        What could not be looked at.

    Raises:
        ArgumentError: (a ValueError) one of these does not hold.
    """
    notes = []
    for which, input in (("the example", example), ("random numbers like the example", _like(example))):
        for training in (True, False):
            before, after = (_run(model, input, training) for model in (twin(old), new(twin(old))))
            mode = "training" if training else "evaluation"
            _compare(before, after, f"on {which} in {mode}")
            if before.error:
                notes.append(f"the model itself does not run on {which} in {mode} ({before.error})")
            elif equal and not training:
                _agree(before, after, which)
        if equal:
            wide = twin(old, parameters=True).double()
            before, after = (_run(model, _double(input), False) for model in (wide, new(twin(wide))))
            if before.error:
                notes.append("the model does not run in float64, and was compared in its own precision alone")
            else:
                _agree(before, after, which)
    return list(dict.fromkeys(notes))


def _compare(before: _Run, after: _Run, where: str) -> None:
    if before.error:
        return
    got = after.error
    if not got and after.shapes != before.shapes:
        got = f"outputs of {after.shapes} in the place of {before.shapes}"
    if not got and before.finite and not after.finite:
        got = "outputs that are not finite"
    if got:
        raise ArgumentError(
            explain(
                "convert",
                f"the converted model must run {where} with finite outputs of the same shapes",
                got,
                "leave the layers that cannot be converted out by `where`, or give an example of more samples",
            )
        )


def _agree(before: _Run, after: _Run, which: str) -> None:
    for old, new in zip(before.outputs, after.outputs, strict=False):
        if not old.is_floating_point() or not old.numel():
            continue
        bound = _TOLERANCE.get(old.dtype, 16 * torch.finfo(old.dtype).eps)
        error = (new.double() - old.double()).abs().max() / old.double().abs().max().clamp_min(1e-30)
        if error > bound:
            must = f"evaluation on {which} must stay the same to {bound:g} in {str(old.dtype)[6:]}"
            raise ArgumentError(explain("convert", must, f"a difference of {float(error):.2g}"))


def _like(example: Any) -> Any:
    """Random numbers in the shapes of an example; what is not of floating point stays."""
    generator = torch.Generator().manual_seed(0)

    def drawn(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor) or not leaf.is_floating_point():
            return leaf
        values = torch.randn(leaf.shape, generator=generator).to(leaf.device, leaf.dtype)
        return torch.empty_like(leaf).copy_(values)

    return tree_map(drawn, example)


def _double(example: Any) -> Any:
    return tree_map(
        lambda leaf: leaf.double() if isinstance(leaf, Tensor) and leaf.is_floating_point() else leaf, example
    )
