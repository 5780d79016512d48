"""A normalization layer by name, for networks that people build themselves."""

from __future__ import annotations

from typing import Any

from torch import nn

from normwise.errors import ArgumentError, explain
from normwise.models.norm import Norm


def norm_layer(kind: str, features: int, *, dims: int = 1) -> nn.Module:
    """Return the normalization layer of a variant's name, so that ``build(norm=…)`` is a few lines.

    Args:
        kind: one of `NORMS`, as none, batch, layer or ``group:4``. None and what lies in weights (weight, spectral,
            standardized, centred, orthogonal) give an identity: `compare` puts these on the layers themselves, if the
            network has none there. Behind filter_response, evonorm_b0 and evonorm_s0 no activation goes: they hold
            their own.
        features: channels C of what is normalized, at least 1.
        dims: 1 for features (N, C), 2 for images (N, C, H, W). Over images, layer and rms go over the channels of
            each position.

    Raises:
        UnknownNameError: an unknown normalization.
        ArgumentError: `dims` is neither 1 nor 2; of features a normalization that needs positions, as instance; of
            images one of rows alone (scale); `features` not divisible by the groups.

    Example:
        >>> import torch
        >>> def build(norm="none", in_features=20, out_features=2, width=64):
        ...     return nn.Sequential(
        ...         nn.Linear(in_features, width),
        ...         norm_layer(norm, width),
        ...         nn.ReLU(),
        ...         nn.Linear(width, width),
        ...         norm_layer(norm, width),
        ...         nn.ReLU(),
        ...         nn.Linear(width, out_features),
        ...     )
        >>> build("batch")(torch.rand(5, 20)).shape
        torch.Size([5, 2])
    """
    if dims not in (1, 2):
        raise ArgumentError(
            explain("norm_layer", "`dims` must be 1 for features or 2 for images", repr(dims))
        )
    if features < 1:
        raise ArgumentError(explain("norm_layer", "`features` must be at least 1", repr(features)))
    norm = Norm.parse(kind, "norm_layer")
    # How large the image is decides whether some fit; that is not known here, and the layer tells later.
    layer = norm.for_features(features) if dims == 1 else norm.for_images(features, 2, 2)
    return nn.Identity() if layer is None else layer


class NormFactory:
    """What torchvision calls a `norm_layer`: from a number of channels to a module.

    Args:
        kind: as `norm_layer` takes it.
        dims: as `norm_layer` takes it.

    >>> NormFactory("batch", 2)(8)
    BatchNorm2d(8, eps=1e-05, momentum=0.1, affine=True, bias=True, track_running_stats=True)
    """

    def __init__(self, kind: str, dims: int) -> None:
        self.kind = kind
        self.dims = dims

    def __call__(self, num_features: int, **options: Any) -> nn.Module:
        """The layer; `eps` and `momentum` go where it has them, for models that set their own."""
        layer = norm_layer(self.kind, num_features, dims=self.dims)
        for name, value in options.items():
            if hasattr(layer, name):
                setattr(layer, name, value)
        return layer

    def __repr__(self) -> str:
        return f"norm_layer({self.kind!r}, …, dims={self.dims})"
