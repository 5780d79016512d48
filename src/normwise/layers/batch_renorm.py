"""Batch renormalization: training that normalizes nearly as evaluation does."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from normwise import functional
from normwise.errors import ArgumentError, explain
from normwise.functional.batch_renorm import renorm_bound, renorm_correction
from normwise.layers._across_samples import Weighable, statistics_dtype
from normwise.layers._recompute import in_recomputation
from normwise.layers._state import Device, DType
from normwise.layers.batch_norm import batch_norm_of


class _BatchRenorm(Weighable):
    """All but the number of axes."""

    wide_buffers = ("last_correction",)
    last_correction: Tensor

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.01,
        affine: bool = True,
        device: Device = None,
        dtype: DType = None,
        *,
        bias: bool = True,
        r_max: float = 3.0,
        d_max: float = 5.0,
        plain_steps: int = 5_000,
        r_max_step: int = 40_000,
        d_max_step: int = 25_000,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, device, dtype, bias=bias)
        who = type(self).__name__
        for name, value, least in (("r_max", r_max, 1.0), ("d_max", d_max, 0.0)):
            if not value >= least:
                raise ArgumentError(explain(who, f"`{name}` must be at least {least:g}", f"{value}"))
        for name, step in (("r_max_step", r_max_step), ("d_max_step", d_max_step)):
            if not 0 <= plain_steps <= step:
                must = f"`plain_steps` and `{name}` must be steps in this order"
                raise ArgumentError(explain(who, must, f"{plain_steps} and {step}"))
        self.r_max, self.d_max = r_max, d_max
        self.plain_steps, self.r_max_step, self.d_max_step = plain_steps, r_max_step, d_max_step
        # A recomputation sees running statistics that its first pass has moved: it takes that pass's correction.
        correction = torch.zeros(2, num_features, device=device, dtype=statistics_dtype(dtype))
        self.register_buffer("last_correction", correction, persistent=False)

    def bounds(self) -> tuple[Tensor, Tensor]:
        """The bounds of r and d in the next batch, by `num_batches_tracked`: tensors without dimensions."""
        step: Any = self.num_batches_tracked
        return (
            renorm_bound(step, 1.0, self.r_max, self.plain_steps, self.r_max_step),
            renorm_bound(step, 0.0, self.d_max, self.plain_steps, self.d_max_step),
        )

    def normalize(self, input: Tensor, **after: Any) -> Tensor:
        """Normalize the input."""
        if not self.by_batch():
            return batch_norm_of(self, input, **after)
        running: Any = self.running()
        if in_recomputation():
            correction = self.last_correction
        else:
            part = after.get("sample_weight")
            correction = renorm_correction(input, running.mean, running.var, *self.bounds(), self.eps, part)
            self.last_correction.copy_(correction)
        # Not the buffer itself: the next pass writes it, and the gradient of the weight needs it as it is.
        r, d = correction.clone()
        weight, bias = self.weight, self.bias
        gain = r if weight is None else weight.to(r.dtype) * r
        shift = d if weight is None else weight.to(d.dtype) * d
        moved: Any = self.tracked()
        return functional.batch_norm(
            input,
            moved.mean,
            moved.var,
            gain,
            shift if bias is None else shift + bias.to(d.dtype),
            True,
            self.momentum,
            self.eps,
            num_batches_tracked=moved.batches,
            num_batches_skipped=moved.skipped,
            **after,
        )

    def arguments(self) -> dict[str, Any]:
        """The bounds and their schedule."""
        names = ("r_max", "d_max", "plain_steps", "r_max_step", "d_max_step")
        return {name: getattr(self, name) for name in names}


class BatchRenorm1d(_BatchRenorm):
    """Batch renormalization of (N, C) or (N, C, L).

    ``y = ((x − μ_B) / σ_B · r + d) · weight + bias`` with ``σ_B = sqrt(σ²_B + eps)``, the batch's biased variance,
    ``r = clip(σ_B / σ, 1/r_max, r_max)``, ``d = clip((μ_B − μ) / σ, −d_max, d_max)`` and ``σ = sqrt(running_var +
    eps)``; r and d have no gradient, and take the running statistics as they are before the batch. Evaluation is
    that of `BatchNorm1d`, and so are the state_dict's keys: where nothing is clipped, training gives the same outputs.

    The bounds follow the paper: up to `plain_steps` batches it is batch normalization (r = 1, d = 0), then they grow
    linearly by `num_batches_tracked`. What `BatchNorm1d` does with its running statistics, this does, too. The paper
    tracks the standard deviation; here it is the unbiased variance, so that a state is also `BatchNorm1d`'s.

    A recomputation of a checkpoint takes the correction of the layer's last pass: a layer that is called several
    times before the backward pass must not be checkpointed.

    Args:
        num_features: C.
        eps: added to the variance, under the root.
        momentum: weight of the new batch in the running statistics, the paper's 0.01; None counts all batches alike.
        affine: learn a weight.
        device: of parameters and buffers.
        dtype: of parameters and buffers; buffers are float32 where it has 16 bits.
        bias: learn a bias beside the weight.
        r_max: the last bound of r; 1 is batch normalization with a shifted mean.
        d_max: the last bound of d.
        plain_steps: batches with r = 1 and d = 0.
        r_max_step: the batch from which on r is bounded by `r_max`.
        d_max_step: the batch from which on d is bounded by `d_max`.

    Raises:
        ArgumentError: (a ValueError) another number of axes or channels, one value per channel in training, a bound
            that is too small, or steps out of order.

    Source: Ioffe 2017, algorithm 1 and section 4.2.

    >>> layer = BatchRenorm1d(1, plain_steps=0, r_max_step=0, d_max_step=0, r_max=9.0, d_max=9.0)
    >>> layer(torch.tensor([[5.0], [9.0]])).detach().round(decimals=3).flatten()  # running mean 0, variance 1
    tensor([5., 9.])
    """

    ranks = (2, 3)


class BatchRenorm2d(_BatchRenorm):
    """Batch renormalization of (N, C, H, W); see `BatchRenorm1d`.

    >>> BatchRenorm2d(3)(torch.randn(2, 3, 4, 4)).shape
    torch.Size([2, 3, 4, 4])
    """

    ranks = (4,)


class BatchRenorm3d(_BatchRenorm):
    """Batch renormalization of (N, C, D, H, W); see `BatchRenorm1d`.

    >>> BatchRenorm3d(3)(torch.randn(2, 3, 2, 4, 4)).shape
    torch.Size([2, 3, 2, 4, 4])
    """

    ranks = (5,)
