"""Losses and optimizers by name, and a training in the words of a command line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - torch's own abbreviation

from normwise.diagnose.subject import Loss, OptimizerChoice
from normwise.errors import ArgumentError, explain, unknown_name

_WHO = "diagnose"

OPTIMIZERS: dict[str, OptimizerChoice] = {
    "sgd": OptimizerChoice("SGD", 0.01, (("momentum", 0.9),)),
    "adam": OptimizerChoice("Adam", 1e-3),
    "adamw": OptimizerChoice("AdamW", 1e-3, (("weight_decay", 0.01),)),
}
"""Optimizers by name, each with the learning rate that people begin with."""


def _same_shape(function: Callable[..., Tensor]) -> Loss:
    """A loss of numbers, with class numbers as one-hot rows."""

    def loss(output: Tensor, targets: Tensor) -> Tensor:
        if not targets.is_floating_point():
            targets = F.one_hot(targets, output.shape[-1])
        return function(output.reshape(targets.shape), targets.to(output.dtype))

    return loss


LOSSES: dict[str, Loss] = {
    "cross_entropy": F.cross_entropy,
    "nll": F.nll_loss,
    "bce": _same_shape(F.binary_cross_entropy),
    "bce_with_logits": _same_shape(F.binary_cross_entropy_with_logits),
    "mse": _same_shape(F.mse_loss),
    "l1": _same_shape(F.l1_loss),
    "huber": _same_shape(F.huber_loss),
}
"""Losses by name, as torch has them: `bce` takes probabilities. Class numbers become one-hot rows where a loss takes
numbers."""

OF_CLASSES = ("cross_entropy", "nll")
"""Losses whose targets are class numbers."""


@dataclass(frozen=True)
class Training:
    """How a model is trained, as it was asked for; None takes what is usual.

    Attributes:
        loss: of `LOSSES`.
        optimizer: of `OPTIMIZERS`.
        lr, weight_decay: of the optimizer. Weight decay spares norms and biases.
        batch_size: rows of a batch.
        steps: of the short training.
        seed: of the split, the initial weights and the order of the rows.
    """

    loss: str | None = None
    optimizer: str | None = None
    lr: float | None = None
    weight_decay: float | None = None
    batch_size: int = 64
    steps: int = 200
    seed: int = 0

    def __post_init__(self) -> None:
        for name, value, least in (
            ("--batch-size", self.batch_size, 1),
            ("--steps", self.steps, 1),
            ("--seed", self.seed, 0),
        ):
            if value < least:
                raise ArgumentError(explain(_WHO, f"{name} must be at least {least}", str(value)))
        if self.lr is not None and not 0 < self.lr < float("inf"):
            raise ArgumentError(explain(_WHO, "--lr must be above 0", f"{self.lr:g}"))
        if self.weight_decay is not None and not 0 <= self.weight_decay < float("inf"):
            raise ArgumentError(explain(_WHO, "--weight-decay must be at least 0", f"{self.weight_decay:g}"))
        if self.loss is not None and self.loss not in LOSSES:
            raise unknown_name(_WHO, "loss", self.loss, LOSSES)
        if self.optimizer is not None and self.optimizer not in OPTIMIZERS:
            raise unknown_name(_WHO, "optimizer", self.optimizer, OPTIMIZERS)

    @property
    def asks_for_optimizer(self) -> bool:
        """Whether anything was said of the optimizer."""
        return any(value is not None for value in (self.optimizer, self.lr, self.weight_decay))

    def choice(self) -> OptimizerChoice:
        """The optimizer in words."""
        usual = OPTIMIZERS[self.optimizer or "adam"]
        chosen = usual if self.lr is None else replace(usual, lr=self.lr)
        return (
            chosen
            if self.weight_decay is None
            else chosen.with_options(weight_decay=float(self.weight_decay))
        )
