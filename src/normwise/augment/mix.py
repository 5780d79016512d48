"""Batches mixed with themselves, inputs and targets alike: mixup, cutmix, mosaic."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - torch's own abbreviation

from normwise.augment.operations import MIXES, parse, stream
from normwise.augment.policy import Policy, build, check_batch
from normwise.errors import ArgumentError, explain

_WINDOW = (0.3, 0.7)
"""Where a mosaic's four images meet, as shares of the sides: all four are seen."""


@dataclass(frozen=True)
class MixPolicy:
    """One operation that mixes the images or rows of a batch, and their targets in the same shares; by `build_mix`.

    ``mix(batch, targets, num_classes, seed)`` returns new inputs of the batch's shape and dtype, and new targets:

    - class indices (N,) become probabilities (N, num_classes), which `torch.nn.functional.cross_entropy` takes;
    - floating-point targets, (N,) or (N, …) — numbers, or probabilities — are averaged as they are; `num_classes` is
      None.

    Every image has its own partners and shares, drawn from a generator seeded by `seed`; the global random state is
    neither read nor changed. Not meant to be differentiated.

    Attributes:
        name: "mixup", "cutmix" or "mosaic".
        magnitude: what it stands for is in `build_mix`.
    """

    name: str
    magnitude: float

    @property
    def spec(self) -> str:
        """The operation as a string that `build_mix` reads."""
        return f"{self.name}:{self.magnitude!r}"

    @property
    def kinds(self) -> tuple[str, ...]:
        """The data that it is for: of "tables", "sequences" and "images"."""
        return MIXES[self.name].kinds

    @torch.no_grad()
    def __call__(
        self, batch: Tensor, targets: Tensor, num_classes: int | None, seed: int
    ) -> tuple[Tensor, Tensor]:
        """Return the mixed batch and its targets.

        Raises:
            ArgumentError: `batch` is not what the operation is for, targets are not one for each of it, or
                `num_classes` does not fit them.
        """
        check_batch(batch, self.kinds)
        soft = _soft(batch, targets, num_classes)
        if not batch.numel():
            return batch, soft
        random = np.random.default_rng(stream(seed, self.name))
        mixed, partners, shares = _MIXERS[self.name](batch, self.magnitude, random)
        weights = shares.to(soft).view(*shares.shape, *[1] * (soft.dim() - 1))
        return mixed.to(batch.dtype), (weights * soft[partners]).sum(1)


def build_mix(spec: str) -> MixPolicy:
    """Read a mixing operation from its name and magnitude.

    ========== ================ ======= =======================================================================
    name       data             default magnitude m
    ========== ================ ======= =======================================================================
    ``mixup``  all              0.2     ``λ·x + (1 − λ)·x'`` with λ of Beta(m, m) and another row x'
    ``cutmix`` images           1       pastes a box of another image, of area 1 − λ before it is cut at the border
    ``mosaic`` images           0.5     with probability m, a window onto four images side by side, itself one of them
    ========== ================ ======= =======================================================================

    The target's shares are those of the pixels that are seen.

    Args:
        spec: ``"mixup"`` or ``"mixup:0.4"``.

    Raises:
        UnknownNameError: no operation has this name.
        ArgumentError: the magnitude is out of its bounds.

    Source: Zhang et al., "mixup: beyond empirical risk minimization", 2018; Yun et al., "CutMix: regularization
    strategy to train strong classifiers with localizable features", 2019; Bochkovskiy et al., "YOLOv4", 2020.

    Example:
        >>> mix = build_mix("mixup:0.4")
        >>> inputs, targets = mix(torch.randn(4, 3), torch.tensor([0, 1, 2, 1]), num_classes=3, seed=0)
        >>> inputs.shape, targets.shape
        (torch.Size([4, 3]), torch.Size([4, 3]))
    """
    return MixPolicy(*parse(spec, MIXES))


def build_both(specs: Sequence[str]) -> tuple[Policy, MixPolicy | None]:
    """Read a policy and a mixing operation from one list of names.

    Raises:
        ArgumentError, UnknownNameError: as `build` and `build_mix`; or two of the operations mix.

    Example:
        >>> policy, mix = build_both(["flip", "mixup"])
        >>> policy.specs, mix.spec
        (('flip:0.5',), 'mixup:0.2')
    """
    mixing = [spec for spec in specs if spec.partition(":")[0].strip() in MIXES]
    if len(mixing) > 1:
        raise ArgumentError(
            explain("augment", "one operation may mix a batch", " and ".join(map(repr, mixing)), "remove one")
        )
    return build([s for s in specs if s not in mixing]), build_mix(mixing[0]) if mixing else None


Mixed = tuple[Tensor, Tensor, Tensor]
"""Inputs; the rows that each was made of (N, K); their shares (N, K)."""


def mixup(batch: Tensor, alpha: float, random: np.random.Generator) -> Mixed:
    """Average each row with a partner."""
    partners = _partners(batch, random, 2)
    first = torch.from_numpy(random.beta(alpha, alpha, len(batch))).to(batch.device)
    shares = torch.stack([first, 1 - first], 1)
    weight = first.to(batch).view(-1, *[1] * (batch.dim() - 1))
    return weight * batch + (1 - weight) * batch[partners[:, 1]], partners, shares


def cutmix(images: Tensor, alpha: float, random: np.random.Generator) -> Mixed:
    """Paste a box of a partner into each image."""
    partners = _partners(images, random, 2)
    side = np.sqrt(1 - random.beta(alpha, alpha, len(images)))
    rows, columns = (_box(images.shape[axis], side, random, images) for axis in (-2, -1))
    boxes = rows[:, :, None] & columns[:, None, :]
    pasted = boxes.double().mean((1, 2))
    mixed = torch.where(boxes[:, None], images[partners[:, 1]], images)
    return mixed, partners, torch.stack([1 - pasted, pasted], 1)


def mosaic(images: Tensor, probability: float, random: np.random.Generator) -> Mixed:
    """Look through a window onto each image (top left) and three partners."""
    count, height, width = len(images), *images.shape[-2:]
    partners = _partners(images, random, 4)
    is_mosaic = random.random(count) < probability
    # The window's corner in the first image; one that stays alone is seen from its own.
    top, left = (
        torch.from_numpy((is_mosaic * random.uniform(*_WINDOW, count) * size).round().astype(np.int64))
        for size in (height, width)
    )
    y = (torch.arange(height) + top[:, None]).to(images.device)
    x = (torch.arange(width) + left[:, None]).to(images.device)
    quarter = 2 * (y >= height).long()[:, :, None] + (x >= width).long()[:, None, :]
    source = partners.gather(1, quarter.flatten(1)).view_as(quarter)
    # Advanced indices around the slice put the channels last.
    mixed = images[source, :, (y % height)[:, :, None], (x % width)[:, None, :]].movedim(-1, 1)
    shares = F.one_hot(quarter.flatten(1), 4).double().mean(1)
    return mixed, partners, shares


_MIXERS: Mapping[str, Callable[[Tensor, float, np.random.Generator], Mixed]] = {
    "mixup": mixup,
    "cutmix": cutmix,
    "mosaic": mosaic,
}


def _partners(batch: Tensor, random: np.random.Generator, count: int) -> Tensor:
    """(N, count) rows: each itself, then those of shuffled batches."""
    shuffled = [torch.from_numpy(random.permutation(len(batch))) for _ in range(count - 1)]
    return torch.stack([torch.arange(len(batch)), *shuffled], 1).to(batch.device)


def _box(size: int, side: np.ndarray, random: np.random.Generator, images: Tensor) -> Tensor:
    """(N, size): the places of a span of `side` of the axis about a uniform centre, cut at the ends."""
    centre = random.random(len(side)) * size
    middle = np.arange(size) + 0.5
    inside = np.abs(middle - centre[:, None]) < (side * size / 2)[:, None]
    return torch.from_numpy(inside).to(images.device)


def _soft(batch: Tensor, targets: Tensor, num_classes: int | None) -> Tensor:
    if targets.shape[:1] != batch.shape[:1]:
        raise _wrong(
            "`targets` must be one for each of the batch", f"{tuple(targets.shape)} for {len(batch)}"
        )
    if targets.is_floating_point():
        if num_classes is not None:
            raise _wrong(
                "`num_classes` must be None for floating-point targets, which are averaged as they are",
                str(num_classes),
            )
        return targets
    if num_classes is None or targets.dim() != 1:
        raise _wrong(
            "class indices must be of shape (N,), with their `num_classes`",
            f"shape {tuple(targets.shape)} and {num_classes}",
        )
    dtype = torch.float64 if batch.dtype is torch.float64 else torch.float32
    return F.one_hot(targets.long(), num_classes).to(dtype)


def _wrong(must: str, got: str) -> ArgumentError:
    return ArgumentError(explain("augment", must, got))
