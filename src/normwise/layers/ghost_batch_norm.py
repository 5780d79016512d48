"""Ghost batch normalization: the noise of small batches in a large one."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from normwise.errors import ArgumentError, explain
from normwise.functional.ghost_batch_norm import ghost_batch_norm, ghost_sizes
from normwise.layers._across_samples import Weighable
from normwise.layers._state import Device, DType
from normwise.layers.batch_norm import batch_norm_of


class _GhostBatchNorm(Weighable):
    """All but the number of axes."""

    def __init__(
        self,
        num_features: int,
        ghost_size: int = 32,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Device = None,
        dtype: DType = None,
        *,
        bias: bool = True,
    ) -> None:
        if ghost_size < 1:
            raise ArgumentError(
                explain(type(self).__name__, "`ghost_size` must be at least 1", f"{ghost_size}")
            )
        super().__init__(
            num_features,
            eps,
            momentum,
            affine,
            device,
            dtype,
            bias=bias,
            track_running_stats=track_running_stats,
        )
        self.ghost_size = ghost_size

    def normalize(self, input: Tensor, **after: Any) -> Tensor:
        """Normalize the input; a batch of one ghost, and all of evaluation, is batch normalization."""
        if not self.by_batch() or input.shape[0] in (
            size for _, size in ghost_sizes(input.shape[0], self.ghost_size)
        ):
            return batch_norm_of(self, input, **after)
        running = self.tracked()
        return ghost_batch_norm(input, self.ghost_size, running, self.weight, self.bias, self.eps, **after)

    def arguments(self) -> dict[str, Any]:
        """The size of a ghost."""
        return {"ghost_size": self.ghost_size, "track_running_stats": self.track_running_stats}


class GhostBatchNorm1d(_GhostBatchNorm):
    """Ghost batch normalization of (N, C) or (N, C, L).

    ``y = (x − μ_k) / sqrt(σ²_k + eps) · weight + bias`` per channel, with mean and biased variance of the sample's
    ghost k: in training a batch is cut into ``K = max(1, round(N / ghost_size))`` parts of samples that follow one
    another, whose sizes differ by one at most (a half is rounded down, so that 3 samples are no two ghosts of 2). A
    batch smaller than a ghost is one, and then, as in evaluation, this is `BatchNorm1d` to the bit; its state_dict is
    that of `BatchNorm1d`, too.

    The running statistics move once a batch: by the mean of the ghosts' means and the mean of their unbiased variances,
    weighted by size. They so describe what a ghost sees, without the spread between ghosts. What `BatchNorm1d` does
    with its running statistics, this does, too.

    Args:
        num_features: C.
        ghost_size: how many samples a ghost should have.
        eps: added to the variance, under the root.
        momentum: weight of the new batch in the running statistics; None counts all batches alike.
        affine: learn a weight.
        track_running_stats: keep running statistics and use them in evaluation; without them, evaluation normalizes
            by the statistics of the whole batch.
        device: of parameters and buffers.
        dtype: of parameters and buffers; buffers are float32 where it has 16 bits.
        bias: learn a bias beside the weight.

    Raises:
        ArgumentError: (a ValueError) another number of axes or channels, or a ghost of one value per channel in
            training.

    Source: Hoffer, Hubara & Soudry 2017, algorithm 1, which moves the running statistics by each ghost in turn.

    >>> import torch
    >>> layer = GhostBatchNorm1d(1, ghost_size=2)
    >>> layer(torch.tensor([[0.0], [2.0], [10.0], [12.0]])).detach().round(decimals=3).flatten()
    tensor([-1.,  1., -1.,  1.])
    """

    ranks = (2, 3)


class GhostBatchNorm2d(_GhostBatchNorm):
    """Ghost batch normalization of (N, C, H, W); see `GhostBatchNorm1d`.

    >>> import torch
    >>> GhostBatchNorm2d(3, ghost_size=2)(torch.randn(5, 3, 4, 4)).shape
    torch.Size([5, 3, 4, 4])
    """

    ranks = (4,)


class GhostBatchNorm3d(_GhostBatchNorm):
    """Ghost batch normalization of (N, C, D, H, W); see `GhostBatchNorm1d`.

    >>> import torch
    >>> GhostBatchNorm3d(3, ghost_size=2)(torch.randn(5, 3, 2, 4, 4)).shape
    torch.Size([5, 3, 2, 4, 4])
    """

    ranks = (5,)
