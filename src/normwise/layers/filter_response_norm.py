"""Filter response normalization, with its threshold."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from normwise import functional
from normwise.layers._state import Affine, Device, DType, Ranked

_EPS, _LEARNED_EPS = 1e-6, 1e-4


class _FilterResponseNorm(Ranked, Affine):
    """State and operation of the three classes; each names the ranks that it takes."""

    tau: Tensor | None

    def __init__(
        self,
        num_features: int,
        threshold: bool = True,
        eps: float | None = None,
        learnable_eps: bool = False,
        device: Device = None,
        dtype: DType = None,
    ) -> None:
        super().__init__((num_features,), affine=True, bias=True, device=device, dtype=dtype)
        self.num_features = num_features
        self.threshold = threshold
        self.learnable_eps = learnable_eps
        self.initial_eps = (_LEARNED_EPS if learnable_eps else _EPS) if eps is None else eps
        zeros = torch.zeros(num_features, device=device, dtype=dtype) if threshold else None
        self.register_parameter("tau", None if zeros is None else nn.Parameter(zeros))
        if learnable_eps:
            self.eps: Tensor | float = nn.Parameter(
                torch.full((), self.initial_eps, device=device, dtype=dtype)
            )
        else:
            self.eps = self.initial_eps

    def reset_parameters(self) -> None:
        """Set the weight to one, bias and threshold to zero, and a learned eps to its first value."""
        super().reset_parameters()
        if self.tau is not None:
            nn.init.zeros_(self.tau)
        if isinstance(self.eps, Tensor):
            nn.init.constant_(self.eps, self.initial_eps)

    def normalize(self, input: Tensor, **after: Any) -> Tensor:
        """Normalize the input."""
        self.check_rank(input)
        return functional.filter_response_norm(input, self.weight, self.bias, self.tau, self.eps)

    def describe(self) -> str:
        """The arguments, as torch writes them."""
        return (
            f"{self.num_features}, threshold={self.threshold}, eps={self.initial_eps}, "
            f"learnable_eps={self.learnable_eps}"
        )


class FilterResponseNorm1d(_FilterResponseNorm):
    """Filter response normalization of (N, C) or (N, C, L), with a learned threshold in the place of an activation.

    ``y = max(x / sqrt(mean(x²) + |eps|) · weight + bias, tau)``, with the mean over the positions of a channel of a
    sample. Nothing is shared between samples or channels; the mean is not subtracted. No activation follows: the
    threshold is one. State_dict keys are `weight`, `bias` and `tau`, as timm's ``FilterResponseNormTlu2d``, and
    `eps` where it learns.

    Of (N, C), or of a single position, the formula without eps is the sign of x: let eps learn there.

    Args:
        num_features: C.
        threshold: end in a maximum with a learned threshold, as the paper does; without, an activation is to follow.
        eps: its magnitude is added to the mean square, under the root; None is the paper's 1e-6, and 1e-4 where it
            learns. timm has 1e-5.
        learnable_eps: learn eps, one for the layer.
        device: of the parameters.
        dtype: of the parameters.

    Raises:
        ValueError: another number of axes or channels.

    Source: Singh & Krishnan 2020.

    >>> layer = FilterResponseNorm1d(1)
    >>> layer(torch.tensor([[[3.0, -3.0]]])).detach().round(decimals=3)
    tensor([[[1., 0.]]])
    """

    ranks = (2, 3)


class FilterResponseNorm2d(_FilterResponseNorm):
    """Filter response normalization of (N, C, H, W), with a learned threshold; see `FilterResponseNorm1d`.

    >>> FilterResponseNorm2d(3)(torch.randn(2, 3, 4, 4)).min() >= 0
    tensor(True)
    """

    ranks = (4,)


class FilterResponseNorm3d(_FilterResponseNorm):
    """Filter response normalization of (N, C, D, H, W), with a learned threshold; see `FilterResponseNorm1d`.

    >>> FilterResponseNorm3d(3)(torch.randn(2, 3, 2, 4, 4)).shape
    torch.Size([2, 3, 2, 4, 4])
    """

    ranks = (5,)
