"""The training loop, bare: tiny networks spend their time in overhead.

Data in memory, one gather a batch, torch's fused optimizer, and nothing that measures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - torch's own abbreviation

from normwise.augment import build_both
from normwise.compare.network import build, initialize
from normwise.compare.network_spec import Initialization
from normwise.compare.plan import Ground
from normwise.compare.variant import Variant
from normwise.data import Split
from normwise.regularizers import L1, L2, parameter_groups

INITIAL_ROWS = 512
"""Rows that data-dependent initialisations look at."""


class Training:
    """A network on its way: `step()` trains one batch and gives its loss.

    Two trainings of one seed see the same batches in the same order, and start from the same weights where their
    shapes agree.
    """

    def __init__(
        self,
        ground: Ground,
        variant: Variant,
        initialization: Initialization,
        split: Split,
        *,
        lr: float,
        seed: int,
    ) -> None:
        self._inputs, self._targets = split.train.inputs, split.train.targets
        self._lr, self._seed, self._steps = lr, seed, 0
        self.loss = loss_of(split)
        self.model = build(ground.network, variant, split.in_shape, split.out_features, seed=seed)
        initialize(
            self.model, variant, ground.network, initialization, seed=seed, batch=self._inputs[:INITIAL_ROWS]
        )
        self._optimizer = make_optimizer(ground.optimizer, self.model, lr, variant.weight_decay)
        self._order = batches(len(self._targets), ground.batch_size, seed)
        policy, self._mix = build_both(variant.augment)
        self._augment = policy if policy.magnitudes else None
        self._classes = None if self._targets.is_floating_point() else split.out_features
        # Soft-thresholding has no meaning for what a weight is computed from; there the penalty joins the loss.
        direct = not variant.kind.weights
        self._proximal = L1(variant.l1) if variant.l1 and direct else None
        self._penalties = [L2(variant.l2)] * bool(variant.l2) + [L1(variant.l1)] * bool(
            variant.l1 and not direct
        )

    def step(self) -> float:
        """Train one batch and return its loss."""
        rows = next(self._order)
        inputs, targets = self._inputs[rows], self._targets[rows]
        seed = self._seed * 1_000_003 + self._steps
        if self._augment is not None:
            inputs = self._augment(inputs, seed=seed)
        if self._mix is not None:
            inputs, targets = self._mix(inputs, targets, self._classes, seed=seed)
        loss = self.loss(self.model(inputs), targets)
        for penalty in self._penalties:
            loss = loss + penalty(self.model)
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        if self._proximal is not None:
            self._proximal.proximal_step_(self.model, self._lr)
        self._steps += 1
        return loss.item()


def batches(rows: int, batch_size: int, seed: int) -> Iterator[Tensor]:
    """Endless shuffled batches of row numbers, the same for every variant of a seed.

    A last, smaller batch of an epoch is left out: a batch of one has no variance. Reshuffled epochs reach every row.
    """
    generator = torch.Generator().manual_seed(seed)
    while True:
        order = torch.randperm(rows, generator=generator)
        yield from order[: rows - rows % batch_size].view(-1, batch_size)


def make_optimizer(
    name: str, model: torch.nn.Module, lr: float, weight_decay: float
) -> torch.optim.Optimizer:
    """SGD with momentum 0.9, Adam or AdamW; weight decay spares norms and biases."""
    groups = parameter_groups(model, weight_decay)
    if name == "sgd":
        return torch.optim.SGD(groups, lr=lr, momentum=0.9, fused=True)
    kind = torch.optim.Adam if name == "adam" else torch.optim.AdamW
    return kind(groups, lr=lr, weight_decay=0.0, fused=True)


def loss_of(split: Split) -> Callable[[Tensor, Tensor], Tensor]:
    """Cross-entropy for classes; mean squared error of the standardised target for regression."""
    if split.train.targets.is_floating_point():
        return lambda output, target: F.mse_loss(output.squeeze(1), target)
    return F.cross_entropy
