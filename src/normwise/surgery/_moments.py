"""Mean and variance of what comes to certain modules, pooled over batches."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from normwise.errors import ArgumentError, explain
from normwise.graph.trace import arguments_of


@dataclass
class Moments:
    """Moments of each channel, in float64, merged part by part (Chan, Golub & LeVeque 1979).

    Attributes:
        count: of elements of a channel.
        mean: of each channel.
        squares: sums of squared deviations from it.
    """

    count: int
    mean: Tensor
    squares: Tensor

    def add(self, x: Tensor) -> None:
        """Take in a tensor (N, C, *)."""
        rows = x.detach().double().transpose(0, 1).flatten(1)
        count = rows.shape[1]
        if not count:
            return
        mean = rows.mean(dim=1)
        squares = (rows - mean[:, None]).square().sum(dim=1)
        total, gap = self.count + count, mean - self.mean
        self.squares = self.squares + squares + gap.square() * (self.count * count / total)
        self.mean = self.mean + gap * (count / total)
        self.count = total

    def variance(self) -> Tensor:
        """Unbiased, as running variances are."""
        return self.squares / max(1, self.count - 1)


@torch.no_grad()
def measure(model: nn.Module, names: list[str], data: Iterable[Any]) -> dict[str, Moments]:
    """The moments of what comes to modules of these names in evaluation.

    Raises:
        ArgumentError: (a ValueError) there are no batches, or not two elements of a channel, or not finite ones.
    """
    twin = copy.deepcopy(model).eval()
    found: dict[str, Moments] = {}
    for name in names:
        module: Any = twin.get_submodule(name)
        zeros = torch.zeros(module.num_features, dtype=torch.float64, device=module.weight.device)
        found[name] = Moments(0, zeros, zeros.clone())
        module.register_forward_pre_hook(lambda _, inputs, each=found[name]: each.add(inputs[0]))
    for batch in data:
        arguments, named = arguments_of(batch)
        twin(*arguments, **named)
    must = "`data` must be batches like the example, with two finite elements of each channel or more"
    for moments in found.values():
        if moments.count < 2 or not bool(torch.isfinite(moments.mean + moments.squares).all()):
            raise ArgumentError(
                explain("unfold", must, f"{moments.count} elements, or some that are not finite")
            )
    return found
