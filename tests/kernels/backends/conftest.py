"""The operations under the back ends, as layers, and the bindings that this machine has."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

import normwise as nw
from normwise.kernels.cpu import library

SHAPE = (3, 4, 5, 6)
LAYERS: dict[str, Callable[[], nn.Module]] = {
    "batch_norm": lambda: nw.BatchNorm2d(4),
    "group_norm": lambda: nw.GroupNorm(2, 4),
    "layer_norm": lambda: nw.LayerNorm(6),
    "layer_norm_over_channels": lambda: nw.LayerNorm2d(4),
    "rms_norm": lambda: nw.RMSNorm(6),
    "instance_norm": lambda: nw.InstanceNorm2d(4, affine=True),
    "dropout": lambda: nw.Dropout(0.4),
    "linear": lambda: nw.Linear(6, 6),
    "batch_norm with relu and dropout": lambda: nw.BatchNormAct2d(4, activation="relu", dropout=0.3),
    "group_norm with gelu": lambda: nw.GroupNormAct(2, 4, activation="gelu"),
}
BINDINGS = [name for name in ("portable", "native") if library.why_missing(name) is None]


@pytest.fixture(params=LAYERS)
def layer(request: pytest.FixtureRequest) -> nn.Module:
    """Each operation as a layer in training, with parameters that are neither 0 nor 1."""
    made = LAYERS[request.param]()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.copy_(0.5 + torch.rand(parameter.shape, generator=generator))
    return made


# Without kernels torch's operators are all there is, and run by name.
@pytest.fixture(params=BINDINGS or ["aten"])
def binding(request: pytest.FixtureRequest) -> str:
    """Each back end that this machine has, besides torch's operators."""
    return str(request.param)


@pytest.fixture
def x() -> torch.Tensor:
    """An input of all layers, with a mean that is not zero."""
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(2)) * 1.5 + 0.5
