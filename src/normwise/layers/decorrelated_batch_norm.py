"""Decorrelated batch normalization: channels are whitened, in groups."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from normwise.errors import ArgumentError, explain
from normwise.functional.decorrelated_batch_norm import decorrelated_batch_norm
from normwise.geometry import divisors
from normwise.layers._across_samples import AcrossSamples, statistics_dtype
from normwise.layers._state import Device, DType

_LARGEST = 64  # channels of a group, where nothing is said: the published code's for ImageNet


class _DecorrelatedBatchNorm(AcrossSamples):
    """All but the number of axes."""

    wide_buffers = ("running_whitening",)
    running_whitening: Tensor

    def __init__(
        self,
        num_features: int,
        num_groups: int | None = None,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        device: Device = None,
        dtype: DType = None,
        *,
        bias: bool = True,
        iterations: int = 5,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, device, dtype, bias=bias)
        who, known = type(self).__name__, divisors(num_features)
        if num_groups is None:
            num_groups = next(groups for groups in known if num_features // groups <= _LARGEST)
        if num_groups not in known:
            raise ArgumentError(
                explain(
                    who,
                    "`num_features` must be divisible by `num_groups`",
                    f"{num_features} and {num_groups}",
                    f"use a divisor of {num_features} ({', '.join(map(str, known))})",
                )
            )
        if iterations < 0:
            raise ArgumentError(explain(who, "`iterations` must be at least 0", f"{iterations}"))
        self.num_groups = num_groups
        self.iterations = iterations
        self.running_var = None  # the matrix takes its place
        whitening = torch.eye(num_features // num_groups, device=device, dtype=statistics_dtype(dtype))
        self.register_buffer("running_whitening", whitening.repeat(num_groups, 1, 1))

    def normalize(self, input: Tensor, **after: object) -> Tensor:
        """Whiten the input."""
        mean: Any = self.running_mean
        return decorrelated_batch_norm(
            input,
            mean,
            self.running_whitening,
            self.weight,
            self.bias,
            self.by_batch(),
            self.momentum,
            self.eps,
            iterations=self.iterations,
            num_batches_tracked=self.num_batches_tracked,
            num_batches_skipped=self.num_batches_skipped,
            moves=self.moves(),
        )

    def reset_running_stats(self) -> None:
        """Set the running mean to zero, the whitening matrices to the identity and both counters to zero."""
        super().reset_running_stats()
        with torch.no_grad():
            self.running_whitening.copy_(torch.eye(self.num_features // self.num_groups))

    def arguments(self) -> dict[str, Any]:
        """Groups and iterations."""
        return {"num_groups": self.num_groups, "iterations": self.iterations}


class DecorrelatedBatchNorm1d(_DecorrelatedBatchNorm):
    """Decorrelated batch normalization of (N, C) or (N, C, L).

    ``y = W (x − μ) · weight + bias`` in each group of channels, with ``W ≈ Σ^(−1/2)`` and ``Σ = X_c X_cᵀ / m +
    eps · I`` over the m samples and positions of the batch: whitening that rotates no further than it must (ZCA). W
    comes from Newton's iteration, ``P ← (3 P − P³ Σ / tr Σ) / 2`` from I and ``W = P / sqrt(tr Σ)``; with the paper's 5
    iterations small eigenvalues are raised to less than one, and fewer samples than channels do no harm. In evaluation
    μ and W are running averages, `running_mean` (C,) and `running_whitening` (G, C / G, C / G).

    What `BatchNorm1d` does with its running statistics, this does, too. An iteration costs 3 · C³ / G² multiplications.

    Args:
        num_features: C.
        num_groups: G, a divisor of C; None for the fewest with at most 64 channels each. With C groups it is batch
            normalization.
        eps: added to the covariance's diagonal.
        momentum: weight of the new batch in the running statistics; None counts all batches alike.
        affine: learn a weight.
        device: of parameters and buffers.
        dtype: of parameters and buffers; buffers are float32 where it has 16 bits.
        bias: learn a bias beside the weight.
        iterations: of Newton's method.

    Raises:
        ArgumentError: (a ValueError) another number of axes or channels, groups that do not divide the channels, or one
            value per channel in training.

    Source: Huang et al. 2018; Huang et al. 2019 (IterNorm), algorithm 1.

    >>> layer = DecorrelatedBatchNorm1d(2, iterations=9)
    >>> y = layer(torch.tensor([[1.0, 1.0], [-1.0, -1.0], [2.0, -2.0], [-2.0, 2.0]])).detach()
    >>> (y.T @ y / 4).round(decimals=3).abs()
    tensor([[1., 0.],
            [0., 1.]])
    """

    ranks = (2, 3)


class DecorrelatedBatchNorm2d(_DecorrelatedBatchNorm):
    """Decorrelated batch normalization of (N, C, H, W); see `DecorrelatedBatchNorm1d`.

    >>> DecorrelatedBatchNorm2d(96).num_groups
    2
    """

    ranks = (4,)


class DecorrelatedBatchNorm3d(_DecorrelatedBatchNorm):
    """Decorrelated batch normalization of (N, C, D, H, W); see `DecorrelatedBatchNorm1d`.

    >>> DecorrelatedBatchNorm3d(4)(torch.randn(2, 4, 2, 4, 4)).shape
    torch.Size([2, 4, 2, 4, 4])
    """

    ranks = (5,)
