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
    """

    takes: str
    output_shape: tuple[int, ...]
    target_shape: tuple[int, ...]
    broadcast: bool
    mass: float | None = None


def scoring_of(subject: Subject) -> Scoring | None:
    """Compute the loss of a batch in evaluation; None without batch, loss, or one tensor of outputs."""
    if subject.loss is None or subject.targets is None or subject.inputs is None:
        return None
    calls = _Calls()
    with preserved(subject.model, training=False), torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's of sizes is a finding here
        output = run_on(subject.model, subject.inputs)
        with calls:
            subject.loss(output, subject.targets)
        if not isinstance(output, Tensor):
            return None
        broadcast = _broadcasts(subject.loss, output[:_ROWS], subject.targets[:_ROWS])
    return Scoring(calls.name, tuple(output.shape), tuple(subject.targets.shape), broadcast, calls.mass)


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
        mass: as `Scoring` has it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.name = ""
        self.mass: float | None = None

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func in _OF_SCORES:
            self.name = self.name or _OF_SCORES[func]
        if func is F.nll_loss and self.mass is None and args and args[0].dim() > 1:
            sums = args[0].detach().double().exp().sum(dim=1).flatten()
            self.mass = float(sums[(sums - 1).abs().argmax()])
        return func(*args, **(kwargs or {}))
