"""Linear layers and convolutions with a normalization of their outputs inside: what `normwise.insert` makes of them.

Each is the very object that it was, under the same name, with the same weight, and one more child, `norm`: its keys
are those of before and ``norm.…``.
"""

from __future__ import annotations

from typing import Any, cast

from torch import Tensor, nn

from normwise.layers._trace import as_leaf, is_traced


class Normalized(nn.Module):
    """``norm(layer(x))``, of a class that says which layer; what is called otherwise is the layer's."""

    norm: nn.Module

    def forward(self, input: Tensor, *others: Any, **named: Any) -> Tensor:
        """What the layer gives, normalized."""
        if is_traced(input):
            traced: Tensor = as_leaf(self, input, *others, **named)
            return traced
        output: Tensor = self.norm(super().forward(input, *others, **named))
        return output


class NormalizedLinear(Normalized, nn.Linear):
    """``norm(x Wᵀ + b)``.

    >>> import torch
    >>> from normwise.layers import BatchNorm1d
    >>> layer = nn.Linear(3, 4)
    >>> _ = normalized(layer, BatchNorm1d(4))
    >>> sorted(layer.state_dict())[:3]
    ['bias', 'norm.bias', 'norm.num_batches_tracked']
    """


class NormalizedConv1d(Normalized, nn.Conv1d):
    """``norm(W ∗ x + b)`` over one axis of positions."""


class NormalizedConv2d(Normalized, nn.Conv2d):
    """``norm(W ∗ x + b)`` over two axes of positions."""


class NormalizedConv3d(Normalized, nn.Conv3d):
    """``norm(W ∗ x + b)`` over three axes of positions."""


class NormalizedConvTranspose1d(Normalized, nn.ConvTranspose1d):
    """The transposed convolution, normalized, over one axis of positions."""


class NormalizedConvTranspose2d(Normalized, nn.ConvTranspose2d):
    """The transposed convolution, normalized, over two axes of positions."""


class NormalizedConvTranspose3d(Normalized, nn.ConvTranspose3d):
    """The transposed convolution, normalized, over three axes of positions."""


NORMALIZED: dict[type[nn.Module], type[Normalized]] = {
    nn.Linear: NormalizedLinear,
    nn.Conv1d: NormalizedConv1d,
    nn.Conv2d: NormalizedConv2d,
    nn.Conv3d: NormalizedConv3d,
    nn.ConvTranspose1d: NormalizedConvTranspose1d,
    nn.ConvTranspose2d: NormalizedConvTranspose2d,
    nn.ConvTranspose3d: NormalizedConvTranspose3d,
}
"""Torch's class → the same with a norm inside."""


def normalized(layer: nn.Module, norm: nn.Module) -> Normalized:
    """Put a norm into a layer of one of torch's classes, in place; hooks of the layer see the norm's output."""
    layer.norm = norm
    layer.__class__ = NORMALIZED[type(layer)]
    return cast(Normalized, layer)


def plain(layer: Normalized) -> nn.Module:
    """Take the norm out of a layer again, in place: it is of torch's class as before."""
    del layer._modules["norm"]
    layer.__class__ = next(kind for kind, with_norm in NORMALIZED.items() if with_norm is type(layer))  # type: ignore[assignment]
    return layer
