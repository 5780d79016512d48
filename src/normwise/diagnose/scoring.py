"""What the loss does with the model's outputs: which function of scores it takes, and whether it pairs them rightly."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - torch's own abbreviation
from torch.overrides import TorchFunctionMode

from normwise.diagnose.subject import Loss, Subject
from normwise.graph.trace import run_on
from normwise.monitor.preserve import preserved

_OF_SCORES: dict[Any, str] = {
    F.cross_entropy: "cross_entropy",
    F.log_softmax: "log_softmax",
    torch.log_softmax: "log_softmax",
    Tensor.log_softmax: "log_softmax",
    F.binary_cross_entropy_with_logits: "binary_cross_entropy_with_logits",
}

_BINARY = (F.binary_cross_entropy, F.binary_cross_entropy_with_logits)
_CLAMPS: dict[Any, tuple[tuple[str, float], tuple[str, float]]] = {
    **dict.fromkeys(
        (torch.clamp, torch.clip, Tensor.clamp, Tensor.clamp_, Tensor.clip, Tensor.clip_),
        (("min", -math.inf), ("max", math.inf)),
    ),
    F.hardtanh: (("min_val", -1.0), ("max_val", 1.0)),
}
"""Of functions that clamp, the names of both bounds, and what they are where nothing is given."""

_ROWS = 8
"""Samples whose losses are taken one by one."""


@dataclass(frozen=True)
class Scoring:
    """A loss and the outputs that it gets.

    Attributes:
        takes: torch's function of scores that the loss calls; "" where it takes anything else.
        output_shape, target_shape: of the batch.
        broadcast: whether each output is held against the targets of other samples, too.
        mass: of what nll_loss gets, the sum over classes of the exponentials, at the sample where it is furthest from
            1; None where the loss does not call it.
        stray: of the targets of a binary cross-entropy the share that is not between 0 and 1, the least, the largest;
            None where all are.
        clamped: between which numbers the model clamps its outputs last; None where it does not.
    """

    takes: str
    output_shape: tuple[int, ...]
    target_shape: tuple[int, ...]
    broadcast: bool
    mass: float | None = None
    stray: tuple[float, float, float] | None = None
    clamped: tuple[float, float] | None = None


def scoring_of(subject: Subject) -> Scoring | None:
    """Compute the loss of a batch in evaluation; None without batch, loss, or one tensor of outputs."""
    if subject.loss is None or subject.targets is None or subject.inputs is None:
        return None
    calls, clamps = _Calls(), _Clamps()
    with preserved(subject.model, training=False), torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's of sizes is a finding here
        with clamps:
            output = run_on(subject.model, subject.inputs)
        with calls:
            subject.loss(output, subject.targets)
        if not isinstance(output, Tensor):
            return None
        broadcast = _broadcasts(subject.loss, output[:_ROWS], subject.targets[:_ROWS])
    shapes = tuple(output.shape), tuple(subject.targets.shape)
    return Scoring(calls.name, *shapes, broadcast, calls.mass, calls.stray, clamps.of(output))


def _broadcasts(loss: Loss, output: Tensor, targets: Tensor) -> bool:
    """Whether the loss of samples together is neither the mean nor the sum of their losses one by one.

    It is asked only where shapes differ in a way that broadcasting makes more of, as (N, 1) and (N,).
    """
    alike = output.is_floating_point() and targets.is_floating_point() and output.numel() == targets.numel()
    if not alike or output.shape == targets.shape or len(output) < 2:
        return False
    try:
        made = (output.detach() + targets).numel()
        whole = float(loss(output, targets))
        each = [float(loss(output[i : i + 1], targets[i : i + 1])) for i in range(len(output))]
    except Exception:  # a loss of somebody's own may refuse single samples in any way it likes
        return False
    sizes = (sum(each), sum(each) / len(each))
    return made > output.numel() and not any(math.isclose(whole, size, rel_tol=1e-3) for size in sizes)


class _Calls(TorchFunctionMode):
    """Notes the first function of scores that is called.

    Attributes:
        name: of the function; "" where there was none.
        mass, stray: as `Scoring` has them.
    """

    def __init__(self) -> None:
        super().__init__()
        self.name = ""
        self.mass: float | None = None
        self.stray: tuple[float, float, float] | None = None

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func in _OF_SCORES:
            self.name = self.name or _OF_SCORES[func]
        if func is F.nll_loss and self.mass is None and args and args[0].dim() > 1:
            sums = args[0].detach().double().exp().sum(dim=1).flatten()
            self.mass = float(sums[(sums - 1).abs().argmax()])
        given = kwargs or {}
        if func in _BINARY:
            targets = (args[1] if len(args) > 1 else given["target"]).detach()
            share = float(((targets < 0) | (targets > 1)).float().mean())
            if share:
                self.stray = share, float(targets.min()), float(targets.max())
        return func(*args, **given)


class _Clamps(TorchFunctionMode):
    """Notes what was clamped last, and between which numbers."""

    def __init__(self) -> None:
        super().__init__()
        self._last: tuple[Tensor, float, float] | None = None

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        output = func(*args, **given)
        if func in _CLAMPS:
            named = _CLAMPS[func]
            bounds = [
                args[i] if len(args) > i else given.get(name) for i, (name, _) in enumerate(named, start=1)
            ]
            if not any(isinstance(bound, Tensor) for bound in bounds):
                low, high = (u if b is None else float(b) for b, (_, u) in zip(bounds, named, strict=True))
                self._last = (output, low, high)
        return output

    def of(self, output: Tensor) -> tuple[float, float] | None:
        """The bounds, where it is the outputs, or a view of them, that were clamped."""
        if self._last is None or self._last[0].data_ptr() != output.data_ptr():
            return None
        return self._last[1:]
