"""Batch normalization: torch's classes over normwise's operation."""

from __future__ import annotations

from typing import Any, cast

from torch import Tensor, nn
from torch.compiler import is_compiling
from torch.nn.functional import batch_norm as by_torch
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.rnn import PackedSequence

from normwise.errors import ArgumentError, explain
from normwise.functional.batch_norm import batch_norm_by_position
from normwise.kernels.aten import batch_norm as batch_norm_by_torch
from normwise.layers._recompute import in_backward
from normwise.layers._sharing import How
from normwise.layers._state import Device, DType
from normwise.layers._trace import as_leaf, is_traced
from normwise.layers._tracking import Tracking, held


def batch_norm_of(
    layer: Any,
    input: Tensor,
    sample_weight: Tensor | None = None,
    residual: Tensor | None = None,
    activation: str = "none",
    dropout: float = 0.0,
) -> Tensor:
    """Normalize by the state of a layer that has the attributes of `Tracking`, fused or not.

    Batch statistics are used in training, and in evaluation where there are no running ones; the running ones
    move in training if they are tracked, by `momentum`, or so that all batches count alike where that is
    None.
    """
    buffers, parameters = layer._buffers, layer._parameters
    try:
        mean, var, counter = buffers["running_mean"], buffers["running_var"], buffers["num_batches_tracked"]
        weight, bias = parameters["weight"], parameters["bias"]
    except KeyError:
        mean, var, counter = (held(layer, f) for f in ("running_mean", "running_var", "num_batches_tracked"))
        weight, bias = held(layer, "weight"), held(layer, "bias")
    batches = skipped = None
    # Compiled, torch's operators without what `batch_norm` chooses from ask less at every call.
    compiled = is_compiling()
    alone = compiled and sample_weight is None and residual is None and activation == "none" and not dropout
    training = layer.training and not layer.statistics_frozen
    if training and layer.single_sample != "raise" and _is_single(input) and mean is not None:
        training = False
    if not training:
        training = mean is None and var is None
        # The operator takes no weight that is narrower than the statistics.
        if alone and mean is not None and input.dtype is mean.dtype:
            return by_torch(input, mean, var, weight, bias, False, 0.0, layer.eps)
    else:
        how: How | None = layer.__dict__.get("shared_by")  # as `_sharing.share` sets it
        if how is not None:
            return how(
                layer,
                input,
                sample_weight=sample_weight,
                residual=residual,
                activation=activation,
                dropout=dropout,
            )
        if not layer.track_running_stats:
            mean = var = None
        elif not compiled and in_backward():
            # torch's operator saves the running statistics, and a checkpoint wants as much to be saved as before.
            mean, var = (None if t is None else t.clone() for t in (mean, var))
        else:
            batches, skipped = counter, buffers.get("num_batches_skipped")
    if alone:
        return batch_norm_by_torch(
            input,
            mean,
            var,
            weight,
            bias,
            training,
            layer.momentum,
            layer.eps,
            batches,
            skipped,
            layer.biased_running_var,
            compiled=True,
        )
    return batch_norm_by_position(
        input,
        mean,
        var,
        weight,
        bias,
        training,
        layer.momentum,
        layer.eps,
        batches,
        skipped,
        layer.biased_running_var,
        sample_weight,
        residual,
        activation,
        dropout,
        None,  # generator
        False,  # stacked
        None,  # back end
        compiled,
    )


def _is_single(input: Tensor) -> bool:
    """Whether there is one value per channel."""
    return input.dim() > 1 and input.numel() == input.shape[1]


class _BatchNormForward(Tracking, _BatchNorm):
    """The forward pass of the three classes; state and check of dimensions are those of torch's class."""

    shares = True

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
        single_sample: str = "raise",
        biased_running_var: bool = False,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias)
        self.set_tracking(single_sample, biased_running_var)

    def forward(self, input: Any, sample_weight: Tensor | None = None) -> Any:
        """Normalize the input.

        Args:
            input: (N, C, *).
            sample_weight: (N, *) or (N,), the part of an element in the statistics, or a mask of booleans: where it is
                zero or False, an element has no part, whatever it is. It is normalized as all others are.
        """
        if not isinstance(input, Tensor):
            return self._forward_of(input, sample_weight)
        self._check_input_dim(input)  # type: ignore[no-untyped-call]
        return batch_norm_of(self, input, sample_weight, None, "none", 0.0)

    def _forward_of(self, input: Any, sample_weight: Tensor | None) -> Any:
        """What `forward` does with an input that is no tensor."""
        if is_traced(input):
            return as_leaf(self, input, sample_weight=sample_weight)
        raise ArgumentError(
            explain(type(self).__name__, "the input must be a tensor", type(input).__qualname__)
        )

    def extra_repr(self) -> str:
        """The arguments, as torch writes them, and what is unlike torch."""
        return super().extra_repr() + self.tracking_repr()  # type: ignore[no-untyped-call,no-any-return]


class BatchNorm1d(_BatchNormForward, nn.BatchNorm1d):
    """Batch normalization of (N, C) or (N, C, L); equal to `torch.nn.BatchNorm1d`.

    ``y = (x − μ) / sqrt(σ² + eps) · weight + bias`` per channel, with the biased variance; the running
    variance is unbiased. Arguments, defaults, state_dict keys and error types are torch's. Unlike torch's,

    - a batch with a mean or variance that is not finite leaves the running statistics alone, all of them, and is
      counted in `num_batches_skipped`;
    - the recomputation of a checkpoint does not move them a second time;
    - they stay float32 in a model that becomes narrow (``.half()``), and can be frozen (`freeze_statistics`);
    - ``forward`` takes a mask or weights (`sample_weight`), and here also a `PackedSequence` of (L, C);
    - ``momentum=None`` works under `torch.compile`.

    Args:
        num_features: C.
        eps: added to the variance, under the root.
        momentum: weight of the new batch in the running statistics; None counts all batches alike.
        affine: learn a weight.
        track_running_stats: keep running statistics and use them in evaluation.
        device: of parameters and buffers.
        dtype: of parameters and buffers; buffers are float32 where it has 16 bits.
        bias: learn a bias beside the weight.
        single_sample: "raise" refuses one value per channel in training; "running" normalizes it by the running
            statistics, which stay as they are.
        biased_running_var: the running variance takes the biased variance; see `keras_batch_norm`.

    Raises:
        ValueError: another number of axes, or one value per channel in training.

    Source: Ioffe & Szegedy 2015.

    >>> import torch
    >>> BatchNorm1d(1)(torch.tensor([[1.0], [3.0]])).detach().round(decimals=3).flatten()
    tensor([-1.,  1.])
    """

    # Here, so that a compiled program need not look through the bases at every call.
    _check_input_dim = nn.BatchNorm1d._check_input_dim

    def _forward_of(self, input: Any, sample_weight: Tensor | None) -> Any:
        """Of a `PackedSequence` the values are normalized, which are no padding."""
        if isinstance(input, PackedSequence):
            # Not by its method `_replace`, of which torch.compile makes an empty tuple.
            values = self.forward(input.data, sample_weight)
            return PackedSequence(values, input.batch_sizes, input.sorted_indices, input.unsorted_indices)
        return super()._forward_of(input, sample_weight)


class BatchNorm2d(_BatchNormForward, nn.BatchNorm2d):
    """Batch normalization of (N, C, H, W); equal to `torch.nn.BatchNorm2d`, see `BatchNorm1d`.

    >>> import torch
    >>> BatchNorm2d(3)(torch.randn(2, 3, 4, 4)).shape
    torch.Size([2, 3, 4, 4])
    """

    _check_input_dim = nn.BatchNorm2d._check_input_dim


class BatchNorm3d(_BatchNormForward, nn.BatchNorm3d):
    """Batch normalization of (N, C, D, H, W); equal to `torch.nn.BatchNorm3d`, see `BatchNorm1d`.

    >>> import torch
    >>> BatchNorm3d(3)(torch.randn(2, 3, 2, 4, 4)).shape
    torch.Size([2, 3, 2, 4, 4])
    """

    _check_input_dim = nn.BatchNorm3d._check_input_dim


_BY_RANK: dict[int, type[_BatchNormForward]] = {1: BatchNorm1d, 2: BatchNorm2d, 3: BatchNorm3d}


def keras_batch_norm(
    num_features: int,
    rank: int = 2,
    *,
    momentum: float = 0.99,
    epsilon: float = 1e-3,
    center: bool = True,
    scale: bool = True,
    device: Device = None,
    dtype: DType = None,
) -> BatchNorm1d | BatchNorm2d | BatchNorm3d:
    """A layer with the meaning of Keras's `BatchNormalization`: arguments and defaults are Keras's.

    Keras's momentum is the weight of the *old* statistics (torch's is one less it), its epsilon is 1e-3, and its moving
    variance takes the biased variance of a batch, which is smaller by ``(m − 1)/m`` for m values per channel. Channels
    stay on axis 1.

    Args:
        num_features: C.
        rank: 1, 2 or 3 axes of positions.
        momentum: weight of the old statistics.
        epsilon: added to the variance, under the root.
        center: learn a bias (Keras's beta).
        scale: learn a weight (Keras's gamma).
        device: of parameters and buffers.
        dtype: of parameters and buffers.

    Raises:
        ArgumentError: (a ValueError) the rank is not 1, 2 or 3, or momentum is not between 0 and 1.

    >>> layer = keras_batch_norm(8)
    >>> round(layer.momentum, 2), layer.eps, layer.biased_running_var
    (0.01, 0.001, True)
    """
    if rank not in _BY_RANK:
        raise ArgumentError(explain("keras_batch_norm", "`rank` must be 1, 2 or 3", repr(rank)))
    if not 0.0 <= momentum <= 1.0:
        raise ArgumentError(
            explain(
                "keras_batch_norm", "`momentum` must lie between 0 and 1", repr(momentum), "Keras has 0.99"
            )
        )
    layer = _BY_RANK[rank](
        num_features,
        epsilon,
        1.0 - momentum,
        affine=center or scale,
        bias=center,
        device=device,
        dtype=dtype,
        biased_running_var=True,
    )
    if center and not scale:
        # torch has no bias without a weight: one of ones that does not learn is the same.
        layer.weight.requires_grad_(False)
    return cast(BatchNorm1d | BatchNorm2d | BatchNorm3d, layer)
