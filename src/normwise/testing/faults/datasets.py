"""The data of the collection: sets that come with the package, and small ones drawn from a fixed seed.

Axes: N samples, F columns, C channels, T positions of a sequence. All inputs are standardised.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import lru_cache
from types import MappingProxyType

import torch
from torch import Tensor

from normwise.data import load
from normwise.diagnose.subject import Data

_ROWS = 800
_TRAINED = 600


@lru_cache(maxsize=16)
def data_set(name: str) -> Data:
    """A data set by its name, split into a training and a validation part; one of `SETS`.

    >>> data_set("motifs").inputs.shape
    torch.Size([600, 4, 12])
    """
    return SETS[name]()


def _embedded(name: str) -> Callable[[], Data]:
    def read() -> Data:
        dataset = load(name)
        split = dataset.split(seed=0)
        train, held_out = split.train, split.validation
        return Data(
            train.inputs,
            train.targets,
            held_out.inputs,
            held_out.targets,
            dataset.task,
            len(dataset.classes),
        )

    return read


def _drawn(
    draw: Callable[[torch.Generator], tuple[Tensor, Tensor]], seed: int, classes: int
) -> Callable[[], Data]:
    def make() -> Data:
        inputs, targets = draw(torch.Generator().manual_seed(seed))
        axes = [axis for axis in range(inputs.dim()) if axis != 1]
        inputs = (inputs - inputs.mean(axes, keepdim=True)) / inputs.std(axes, keepdim=True)
        if not classes:
            targets = (targets - targets.mean()) / targets.std()
        return Data(
            inputs[:_TRAINED],
            targets[:_TRAINED],
            inputs[_TRAINED:],
            targets[_TRAINED:],
            "classification" if classes else "regression",
            classes,
        )

    return make


def _clusters(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Four classes of two Gaussian clusters each, (N, 12)."""
    centres = 1.6 * torch.randn(8, 12, generator=generator)
    which = torch.randint(8, (_ROWS,), generator=generator)
    return centres[which] + torch.randn(_ROWS, 12, generator=generator), which % 4


def _rings(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Three shells around the origin in three of six columns, (N, 6): no linear model tells them apart."""
    targets = torch.randint(3, (_ROWS,), generator=generator)
    direction = torch.nn.functional.normalize(torch.randn(_ROWS, 3, generator=generator), dim=1)
    radius = 1.0 + targets + 0.15 * torch.randn(_ROWS, generator=generator)
    noise = torch.randn(_ROWS, 3, generator=generator)
    return torch.cat([radius[:, None] * direction, noise], dim=1), targets


def _friedman(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Friedman's first regression (1991, section 4.3), (N, 10): five columns matter."""
    x = torch.rand(_ROWS, 10, generator=generator)
    y = 10 * (math.pi * x[:, 0] * x[:, 1]).sin() + 20 * (x[:, 2] - 0.5) ** 2 + 10 * x[:, 3] + 5 * x[:, 4]
    return x, y + torch.randn(_ROWS, generator=generator)


def _textures(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Gratings of four directions in three channels, (N, 3, 8, 8)."""
    targets = torch.randint(4, (_ROWS,), generator=generator)
    angle = targets * math.pi / 4
    phase = 2 * math.pi * torch.rand(_ROWS, 3, generator=generator)
    row, column = torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij")
    along = angle.cos()[:, None, None] * row + angle.sin()[:, None, None] * column
    wave = (1.6 * along[:, None] + phase[:, :, None, None]).sin()
    return wave + 0.5 * torch.randn(_ROWS, 3, 8, 8, generator=generator), targets


def _spots(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Where a bright spot is, along the diagonal: images (N, 1, 8, 8), one number."""
    place = 1 + 5 * torch.rand(_ROWS, 2, generator=generator)
    grid = torch.arange(8.0)
    row = (-0.5 * (grid - place[:, :1]) ** 2).exp()
    column = (-0.5 * (grid - place[:, 1:]) ** 2).exp()
    image = (row[:, :, None] * column[:, None, :])[:, None]
    return image + 0.05 * torch.randn(_ROWS, 1, 8, 8, generator=generator), place.sum(dim=1)


def _motifs(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Noise in four channels with one of four short motifs somewhere in it, (N, 4, 12)."""
    motifs = 2.5 * torch.randn(4, 4, 3, generator=generator)
    targets = torch.randint(4, (_ROWS,), generator=generator)
    start = torch.randint(10, (_ROWS,), generator=generator)
    sequences = 0.7 * torch.randn(_ROWS, 4, 12, generator=generator)
    for offset in range(3):
        sequences[torch.arange(_ROWS), :, start + offset] += motifs[targets, :, offset]
    return sequences, targets


SETS: Mapping[str, Callable[[], Data]] = MappingProxyType(
    {
        "digits": _embedded("digits"),
        "wine": _embedded("wine"),
        "breast_cancer": _embedded("breast_cancer"),
        "clusters": _drawn(_clusters, 1, 4),
        "rings": _drawn(_rings, 2, 3),
        "friedman": _drawn(_friedman, 3, 0),
        "textures": _drawn(_textures, 4, 4),
        "spots": _drawn(_spots, 5, 0),
        "motifs": _drawn(_motifs, 6, 4),
    }
)
"""Every data set by its name; a call makes it."""
