"""Batch normalization with residual, activation and dropout in one call."""

from __future__ import annotations

from torch import Tensor

from normwise.layers._fused import Fused
from normwise.layers._state import Device, DType, Ranked, Tracked
from normwise.layers.batch_norm import batch_norm_of


class _BatchNormAct(Ranked, Fused, Tracked):
    """All but the ranks of the three classes."""

    shares = True
    takes_weights = True

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Device = None,
        dtype: DType = None,
        *,
        bias: bool = True,
        activation: str = "none",
        dropout: float = 0.0,
        single_sample: str = "raise",
        biased_running_var: bool = False,
    ) -> None:
        super().__init__(
            num_features,
            eps,
            momentum,
            affine=affine,
            bias=bias,
            track_running_stats=track_running_stats,
            device=device,
            dtype=dtype,
            single_sample=single_sample,
            biased_running_var=biased_running_var,
        )
        self.set_finish(activation, dropout)

    def normalize(
        self,
        input: Tensor,
        residual: Tensor | None = None,
        activation: str = "none",
        dropout: float = 0.0,
        sample_weight: Tensor | None = None,
    ) -> Tensor:
        """Normalize the input; then residual, activation and dropout."""
        if input.dim() not in self.ranks:
            self.check_rank(input)
        return batch_norm_of(self, input, sample_weight, residual, activation, dropout)


class BatchNormAct1d(_BatchNormAct):
    """Batch normalization of (N, C) or (N, C, L), then residual, activation and dropout.

    ``y = dropout(activation(batch_norm(x) + residual))``, called as ``layer(x, residual=None)``. The
    state_dict keys are those of `BatchNorm1d`. It is no subclass of `torch.nn.BatchNorm1d`: torch's
    converters and fusers would drop the activation.

    Args:
        num_features: C.
        eps: added to the variance, under the root.
        momentum: weight of the new batch in the running statistics; None counts all batches alike.
        affine: learn a weight.
        track_running_stats: keep running statistics and use them in evaluation.
        device: of parameters and buffers.
        dtype: of parameters and buffers.
        bias: learn a bias beside the weight.
        activation: "none", "relu", "leaky_relu" (slope 0.01), "gelu" (exact), "silu", "tanh" or "sigmoid".
        dropout: probability of an element to be zeroed in training.
        single_sample: as in `BatchNorm1d`.
        biased_running_var: as in `BatchNorm1d`.

    Raises:
        ValueError: another number of axes, one value per channel in training, a rate that is no probability,
            or a residual of another shape.
        UnknownNameError: the activation is not known.

    Source: Ioffe & Szegedy 2015.

    >>> import torch
    >>> layer = BatchNormAct1d(1, activation="relu")
    >>> layer(torch.tensor([[1.0], [3.0]]), residual=torch.ones(2, 1)).detach().round(decimals=3).flatten()
    tensor([0., 2.])
    """

    ranks = (2, 3)


class BatchNormAct2d(_BatchNormAct):
    """Batch normalization of (N, C, H, W), then residual, activation and dropout; see `BatchNormAct1d`.

    >>> import torch
    >>> BatchNormAct2d(3, activation="silu", dropout=0.1)(torch.randn(2, 3, 4, 4)).shape
    torch.Size([2, 3, 4, 4])
    """

    ranks = (4,)


class BatchNormAct3d(_BatchNormAct):
    """Batch normalization of (N, C, D, H, W), then residual, activation and dropout; see `BatchNormAct1d`.

    >>> import torch
    >>> BatchNormAct3d(3, activation="tanh")(torch.randn(2, 3, 2, 4, 4)).shape
    torch.Size([2, 3, 2, 4, 4])
    """

    ranks = (5,)
