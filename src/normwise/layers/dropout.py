"""Dropout of elements and of whole channels: torch's classes, with a message that says who."""

from __future__ import annotations

from torch import Tensor, nn

from normwise.functional import check_rate, dropout
from normwise.layers._trace import as_leaf, is_traced


class _CheckedRate(nn.modules.dropout._DropoutNd):
    """Checks the rate before torch does, with the layer's name and a hint."""

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        check_rate(type(self).__name__, "p", p)
        super().__init__(p, inplace)


class Dropout(_CheckedRate, nn.Dropout):
    """Zero elements with probability p in training, scale the rest by ``1 / (1 − p)``; `torch.nn.Dropout`.

    Raises:
        ValueError: p is not between 0 and 1.

    Source: Srivastava et al. 2014, in the inverted form.

    >>> import torch
    >>> Dropout(0.5).eval()(torch.ones(3))
    tensor([1., 1., 1.])
    """

    def forward(self, input: Tensor) -> Tensor:
        """Drop elements in training."""
        if is_traced(input):
            output: Tensor = as_leaf(self, input)
            return output
        return dropout(input, self.p, self.training, self.inplace)


class _ByTorch(_CheckedRate):
    """The forms whose forward pass is torch's, one node in a trace: so they still follow `train` and `eval`."""

    def forward(self, input: Tensor) -> Tensor:
        """Drop in training."""
        output: Tensor = as_leaf(self, input) if is_traced(input) else super().forward(input)
        return output


class Dropout1d(_ByTorch, nn.Dropout1d):
    """Zero whole channels of (N, C, L) or (C, L); `torch.nn.Dropout1d`.

    Source: Tompson et al. 2015.

    >>> import torch
    >>> kept = Dropout1d(0.5)(torch.ones(2, 8, 4)).unique(dim=-1)
    >>> kept.shape[-1]
    1
    """


class Dropout2d(_ByTorch, nn.Dropout2d):
    """Zero whole channels of (N, C, H, W) or (C, H, W); `torch.nn.Dropout2d`, see `Dropout1d`.

    >>> import torch
    >>> Dropout2d(1.0)(torch.ones(1, 2, 3, 3)).sum()
    tensor(0.)
    """


class Dropout3d(_ByTorch, nn.Dropout3d):
    """Zero whole channels of (N, C, D, H, W) or (C, D, H, W); `torch.nn.Dropout3d`, see `Dropout1d`.

    >>> import torch
    >>> Dropout3d(1.0)(torch.ones(1, 2, 3, 3, 3)).sum()
    tensor(0.)
    """


class AlphaDropout(_ByTorch, nn.AlphaDropout):
    """Dropout that keeps mean and variance behind a SELU; `torch.nn.AlphaDropout`.

    Source: Klambauer et al. 2017.

    >>> import torch
    >>> AlphaDropout(0.5).eval()(torch.ones(2))
    tensor([1., 1.])
    """


class FeatureAlphaDropout(_ByTorch, nn.FeatureAlphaDropout):
    """`AlphaDropout` of whole channels of (N, C, *); `torch.nn.FeatureAlphaDropout`.

    Source: Klambauer et al. 2017; Tompson et al. 2015.

    >>> import torch
    >>> FeatureAlphaDropout(0.5)(torch.ones(2, 8, 4)).unique(dim=-1).shape[-1]
    1
    """
