"""Policies that choose operations by themselves: RandAugment, TrivialAugment, AugMix.

Each image has its own operations, where kornia's policies choose for a whole batch.
"""

from __future__ import annotations

import torch
from torch import Tensor

from normwise.augment._bounds import Bounds, to_unit
from normwise.augment._space import Reach, Step, apply_each, enhancing, geometric, tonal

_RAND = Reach(shear=0.3, translate=150 / 331, rotate=30, enhance=0.9, bits=4)
_WIDE = Reach(shear=0.99, translate=32 / 224, rotate=135, enhance=0.99, bits=6)
_MILD = Reach(shear=0.3, translate=1 / 3, rotate=30, enhance=0.0, bits=4)
"""Strengths of the papers; translations as shares of the image that they were set for."""

RAND_STEPS = 2
STRONGEST = 30.0
CHAINS, DEPTH, SEVEREST, MILDEST = 3, 3, 10.0, 0.1


def space(reach: Reach) -> dict[str, Step]:
    """The fourteen operations of RandAugment and TrivialAugment, the last of which does nothing."""
    return {**geometric(reach), **tonal(reach), **enhancing(reach), "identity": lambda x, *_: x}


def rand_augment(images: Tensor, magnitude: float, draws: Tensor, bounds: Bounds | None = None) -> Tensor:
    """Apply to each image two of fourteen operations, at `magnitude` of 30 of their ranges.

    Source: Cubuk et al., "RandAugment: practical automated data augmentation with a reduced search space", 2020.
    """
    unit, back = to_unit(images, bounds)
    steps = space(_RAND)
    level = torch.full_like(draws[0], magnitude / STRONGEST)
    for choice, sign in draws.view(RAND_STEPS, 2, -1):
        unit = apply_each(unit, steps, _numbers(choice, len(steps)), level, _signs(sign))
    return back(unit)


def trivial_augment(images: Tensor, magnitude: float, draws: Tensor, bounds: Bounds | None = None) -> Tensor:
    """Apply to each image one of fourteen operations, at a strength of 0 to `magnitude` of its wide range.

    Source: Müller & Hutter, "TrivialAugment: tuning-free yet state-of-the-art data augmentation", 2021.
    """
    unit, back = to_unit(images, bounds)
    steps = space(_WIDE)
    choice, level, sign = draws
    return back(apply_each(unit, steps, _numbers(choice, len(steps)), level * magnitude, _signs(sign)))


def augmix(images: Tensor, magnitude: float, draws: Tensor, bounds: Bounds | None = None) -> Tensor:
    """Average each image with a mixture of three chains of one to three operations of severity up to `magnitude`.

    Weights of the chains are Dirichlet(1, 1, 1), that of the mixture is uniform. The paper adds a term to the loss that
    holds the predictions for several such images together; that is left to the training loop.

    Source: Hendrycks et al., "AugMix: a simple data processing method to improve robustness and uncertainty", 2020.
    """
    unit, back = to_unit(images, bounds)
    steps = geometric(_MILD) | tonal(_MILD)
    weight, share, depth, rest = torch.split(draws, [CHAINS, 1, CHAINS, 3 * CHAINS * DEPTH])
    # Exponential numbers over their sum are Dirichlet(1, …); 1 − u is never 0.
    weight = -torch.log1p(-weight) + 1e-12
    weight = weight / weight.sum(0)
    mixture = torch.zeros_like(unit)
    for chain, steps_of_chain in enumerate(rest.view(CHAINS, DEPTH, 3, -1)):
        mixed = unit
        length = 1 + _numbers(depth[chain], DEPTH)
        for place, (choice, level, sign) in enumerate(steps_of_chain):
            number = torch.where(place < length, _numbers(choice, len(steps)), len(steps))
            strength = (MILDEST + level * (max(magnitude, MILDEST) - MILDEST)) / SEVEREST
            mixed = apply_each(mixed, steps, number, strength, _signs(sign))
        mixture += weight[chain][:, None, None, None] * mixed
    share = share[0][:, None, None, None]
    return back((1 - share) * unit + share * mixture)


def _numbers(uniform: Tensor, count: int) -> Tensor:
    # The clamp is for numbers that round up to 1.
    return (uniform * count).long().clamp(max=count - 1)


def _signs(uniform: Tensor) -> Tensor:
    return torch.where(uniform < 0.5, -1.0, 1.0).to(uniform)
