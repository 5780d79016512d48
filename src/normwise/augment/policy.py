"""A policy: some operations applied to every batch of images, each image with its own draw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from normwise._optional import require
from normwise.augment.affine import AFFINE, move
from normwise.augment.brightness import brighten
from normwise.augment.erase import erase
from normwise.augment.operations import OPERATIONS, parse
from normwise.errors import ArgumentError, explain


@dataclass(frozen=True)
class Policy:
    """Operations to apply to batches of images; made by `build`.

    ``policy(batch, seed)`` takes floating-point images (N, C, H, W) and returns new ones of the same shape
    and dtype. Each image has draws of its own, from a generator seeded by `seed`: the same seed and batch
    give the same result, and the global random state is neither read nor changed. An operation's draws do
    not depend on the others in the policy, so that policies can be compared draw by draw.

    Whatever the order in the policy, the affine operations come first, as a single bilinear warp in the order
    flip, scale, rotate, shift, crop, with the border's pixels repeated outside; then brightness; then erase.
    An empty policy returns the batch itself. Not meant to be differentiated.

    Attributes:
        magnitudes: (name, magnitude) of each operation, in that order.
    """

    magnitudes: tuple[tuple[str, float], ...] = ()

    @property
    def specs(self) -> tuple[str, ...]:
        """The operations as strings that `build` reads."""
        return tuple(f"{name}:{magnitude!r}" for name, magnitude in self.magnitudes)

    @torch.no_grad()
    def __call__(self, batch: Tensor, seed: int) -> Tensor:
        """Return the augmented batch.

        Raises:
            ArgumentError: `batch` is not a floating-point tensor of four dimensions.
        """
        if batch.dim() != 4 or not batch.is_floating_point():
            raise ArgumentError(
                explain(
                    "augment",
                    "`batch` must be floating-point images of shape (N, C, H, W)",
                    f"{batch.dtype} of shape {tuple(batch.shape)}",
                )
            )
        if not self.magnitudes or not batch.numel():
            return batch
        # Sixteen-bit grids would place pixels only to a sixteenth or so.
        images = batch.float() if batch.dtype in (torch.float16, torch.bfloat16) else batch
        draws = _draws(images, seed)
        wanted = dict(self.magnitudes)
        if not AFFINE.isdisjoint(wanted):
            images = move(images, wanted, draws)
        if "brightness" in wanted:
            images = brighten(images, wanted["brightness"], draws["brightness"])
        if "erase" in wanted:
            images = erase(images, wanted["erase"], draws["erase"])
        return images.to(batch.dtype)


def build(specs: Sequence[str]) -> Policy:
    """Read a policy from names and magnitudes.

    ============== ======= ==================================================================
    name           default magnitude m
    ============== ======= ==================================================================
    ``flip``       0.5     mirrors left and right with probability m
    ``shift``      0.1     moves by up to ± m of the width and, apart, of the height
    ``rotate``     10      turns about the centre by up to ± m degrees
    ``scale``      0.1     magnifies by a factor from 1/(1 + m) to 1 + m, log-uniform
    ``crop``       0.2     cuts a window of sides 1 − m to 1 of the image, and enlarges it
    ``brightness`` 0.2     adds up to ± m, in the unit of the pixels
    ``erase``      0.5     replaces a box of sides 0 to m of the image by its channels' means
    ============== ======= ==================================================================

    All draws are uniform unless stated. Brightness does not clip: standardised pixels have no bounds, and
    their unit is a standard deviation.

    Args:
        specs: ``"shift"`` or ``"shift:0.1"`` each; an operation at most once.

    Raises:
        UnknownNameError: no operation has this name.
        ArgumentError: a magnitude is out of its bounds, or an operation is named twice.
        MissingPackageError: kornia is needed and not installed.

    Example:
        >>> policy = build(["flip", "shift:0.2"])
        >>> policy.specs
        ('flip:0.5', 'shift:0.2')
        >>> images = torch.rand(4, 1, 8, 8)
        >>> torch.equal(policy(images, seed=3), policy(images, seed=3))
        True
    """
    if isinstance(specs, str):
        specs = (specs,)
    wanted: dict[str, float] = {}
    for spec in specs:
        name, magnitude = parse(spec)
        if name in wanted:
            raise ArgumentError(
                explain("augment", "each operation may be named once", f"{name!r} twice", "remove one")
            )
        wanted[name] = magnitude
    if set(wanted) - {"flip", "erase"}:
        require("kornia", extra="compare", who="augment")
    return Policy(tuple((name, wanted[name]) for name in OPERATIONS if name in wanted))


def _draws(images: Tensor, seed: int) -> Mapping[str, Tensor]:
    # Every operation has its rows in one draw, used or not: that keeps them independent of the policy, and
    # one call costs less than seven.
    generator = torch.Generator().manual_seed(seed)
    rows = [operation.draws for operation in OPERATIONS.values()]
    uniform = torch.rand(sum(rows), len(images), generator=generator).to(images)
    return dict(zip(OPERATIONS, torch.split(uniform, rows), strict=True))
