"""A policy: some operations applied to every batch, each image or row with its own draw."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from normwise._optional import require
from normwise.augment._bounds import Bounds, checked_bounds
from normwise.augment.affine import AFFINE, move
from normwise.augment.amplitude import amplify
from normwise.augment.auto import augmix, rand_augment, trivial_augment
from normwise.augment.brightness import brighten
from normwise.augment.drop import drop
from normwise.augment.erase import erase
from normwise.augment.noise import add_noise
from normwise.augment.operations import AXES, MIXES, OPERATIONS, kind_of, parse, stream
from normwise.augment.swap import swap
from normwise.augment.timemask import mask_time
from normwise.augment.timeshift import shift_time
from normwise.errors import ArgumentError, explain

_DRAWN: Mapping[str, Callable[[Tensor, float, Tensor], Tensor]] = {
    "brightness": brighten,
    "erase": erase,
    "timeshift": shift_time,
    "timemask": mask_time,
}
_AUTOMATIC: Mapping[str, Callable[[Tensor, float, Tensor, Bounds | None], Tensor]] = {
    "randaugment": rand_augment,
    "trivialaugment": trivial_augment,
    "augmix": augmix,
}
_GENERATED: Mapping[str, Callable[[Tensor, float, torch.Generator], Tensor]] = {
    "swap": swap,
    "drop": drop,
    "amplitude": amplify,
    "noise": add_noise,
}
# The automatic policies take many numbers and take them last, so that the others' cost no more for them.
_ROWS = {name: OPERATIONS[name].draws for name in sorted(OPERATIONS, key=lambda name: name in _AUTOMATIC)}
_SHAPES = {"tables": "rows of shape (N, F)", "sequences": "sequences of shape (N, C, L)"}
_SHAPES["images"] = "images of shape (N, C, H, W)"


@dataclass(frozen=True)
class Policy:
    """Operations to apply to batches; made by `build`.

    ``policy(batch, seed)`` takes floating-point images (N, C, H, W), sequences (N, C, L) or rows of a table (N, F), as
    its operations do, and returns new ones of the same shape and dtype. Each image has draws of its own, from
    generators seeded by `seed`: the same seed and batch give the same result, and the global random state is neither
    read nor changed. An operation's draws do not depend on the others in the policy, so that policies can be compared
    draw by draw.

    Whatever the order in the policy, operations are applied in that of the table in `build`, the affine ones of images
    as a single bilinear warp in the order flip, scale, rotate, shift, crop, with the border's pixels repeated outside.
    An empty policy returns the batch itself. Not meant to be differentiated.

    Attributes:
        magnitudes: (name, magnitude) of each operation, in that order.
        bounds: black and white, as `build` takes them.
    """

    magnitudes: tuple[tuple[str, float], ...] = ()
    bounds: Bounds | None = None

    @property
    def specs(self) -> tuple[str, ...]:
        """The operations as strings that `build` reads."""
        return tuple(f"{name}:{magnitude!r}" for name, magnitude in self.magnitudes)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The data that all of its operations are for: of "tables", "sequences" and "images"."""
        named = [OPERATIONS[name].kinds for name, _ in self.magnitudes]
        return tuple(kind for kind in AXES if all(kind in kinds for kinds in named))

    @torch.no_grad()
    def __call__(self, batch: Tensor, seed: int) -> Tensor:
        """Return the augmented batch.

        Raises:
            ArgumentError: `batch` is not floating-point, or not what the operations are for.
        """
        check_batch(batch, self.kinds)
        if not self.magnitudes or not batch.numel():
            return batch
        # Sixteen-bit grids would place pixels only to a sixteenth or so.
        wide = batch.float() if batch.dtype in (torch.float16, torch.bfloat16) else batch
        wanted = dict(self.magnitudes)
        draws = _draws(wide, seed, wanted)
        if not AFFINE.isdisjoint(wanted):
            wide = move(wide, wanted, draws)
        for name, magnitude in self.magnitudes:
            if name in _DRAWN:
                wide = _DRAWN[name](wide, magnitude, draws[name])
            elif name in _AUTOMATIC:
                wide = _AUTOMATIC[name](wide, magnitude, draws[name], self.bounds)
            elif name in _GENERATED:
                generator = torch.Generator().manual_seed(stream(seed, name))
                wide = _GENERATED[name](wide, magnitude, generator)
        return wide.to(batch.dtype)


def build(
    specs: Sequence[str], *, bounds: tuple[float | Sequence[float], float | Sequence[float]] | None = None
) -> Policy:
    """Read a policy from names and magnitudes.

    ================== ========= ======= ==================================================================
    name               data      default magnitude m
    ================== ========= ======= ==================================================================
    ``flip``           images    0.5     mirrors left and right with probability m
    ``shift``          images    0.1     moves by up to ± m of the width and, apart, of the height
    ``rotate``         images    10      turns about the centre by up to ± m degrees
    ``scale``          images    0.1     magnifies by a factor from 1/(1 + m) to 1 + m, log-uniform
    ``crop``           images    0.2     cuts a window of sides 1 − m to 1 of the image, and enlarges it
    ``brightness``     images    0.2     adds up to ± m, in the unit of the pixels
    ``swap``           tables    0.15    gives each entry, with probability m, its column's value in another row
    ``drop``           tables    0.1     gives each entry, with probability m, its column's mean in the batch
    ``amplitude``      sequences 0.1     multiplies each channel by a normal number of mean 1, deviation m
    ``noise``          all       0.1     adds normal noise of deviation m, in the unit of the data ("jitter")
    ``randaugment``    images    9       two of fourteen operations at strength m of 30
    ``trivialaugment`` images    1       one of fourteen operations at a strength of 0 to m of its wide range
    ``augmix``         images    3       averages with three chains of operations of severity up to m of 10
    ``erase``          images    0.5     replaces a box of sides 0 to m of the image by its channels' means
    ``timeshift``      sequences 0.1     moves by up to ± m of the length, whole steps, the ends repeated
    ``timemask``       sequences 0.2     replaces a span of 0 to m of the length by its channels' means
    ================== ========= ======= ==================================================================

    All draws are uniform unless stated. Brightness and noise do not clip: standardised data has no bounds, and its unit
    is a standard deviation. The three automatic policies know black and white (posterize, solarize, equalize, …):
    `bounds` says where they lie, and what is beyond them is clamped; without it they are each channel's least and
    greatest value in the batch, so that a result depends on what else is in it.

    Args:
        specs: ``"shift"`` or ``"shift:0.1"`` each; an operation at most once.
        bounds: (black, white) in the unit of the pixels, a number for all channels or one for each.

    Raises:
        UnknownNameError: no operation has this name.
        ArgumentError: a magnitude is out of its bounds, an operation is named twice, or changes targets (`build_mix`),
            or two are for different data; `bounds` are wrong.
        MissingPackageError: kornia is needed and not installed.

    Example:
        >>> policy = build(["flip", "shift:0.2"])
        >>> policy.specs
        ('flip:0.5', 'shift:0.2')
        >>> images = torch.rand(4, 1, 8, 8)
        >>> torch.equal(policy(images, seed=3), policy(images, seed=3))
        True
        >>> build(["swap:0.3"])(torch.tensor([[1.0, 2.0], [1.0, 2.0]]), seed=0)
        tensor([[1., 2.],
                [1., 2.]])
    """
    if isinstance(specs, str):
        specs = (specs,)
    wanted: dict[str, float] = {}
    for spec in specs:
        mixing = spec.partition(":")[0].strip()
        if mixing in MIXES:
            raise ArgumentError(
                explain(
                    "augment",
                    "the operations of a policy must leave targets alone",
                    repr(mixing),
                    f'write build_mix("{mixing}"), which changes them along with the inputs',
                )
            )
        name, magnitude = parse(spec)
        if name in wanted:
            raise ArgumentError(
                explain("augment", "each operation may be named once", f"{name!r} twice", "remove one")
            )
        wanted[name] = magnitude
    policy = Policy(
        tuple((name, wanted[name]) for name in OPERATIONS if name in wanted), checked_bounds(bounds)
    )
    if not policy.kinds:
        named = ", ".join(f"{name!r} ({' or '.join(OPERATIONS[name].kinds)})" for name in wanted)
        raise ArgumentError(explain("augment", "the operations must be for one kind of data", named))
    if set(wanted) & (AFFINE - {"flip"} | {"brightness", *_AUTOMATIC}):
        require("kornia", extra="compare", who="augment")
    return policy


def check_batch(batch: Tensor, kinds: Sequence[str]) -> None:
    """Raise unless `batch` is floating-point data of one of `kinds`."""
    if kind_of(batch.dim()) not in kinds or not batch.is_floating_point():
        raise ArgumentError(
            explain(
                "augment",
                f"`batch` must be floating-point {' or '.join(_SHAPES[kind] for kind in kinds)}",
                f"{batch.dtype} of shape {tuple(batch.shape)}",
            )
        )


def _draws(batch: Tensor, seed: int, wanted: Mapping[str, float]) -> Mapping[str, Tensor]:
    # Every operation has its rows in one draw, used or not: that keeps them independent of the policy, and
    # one call costs less than seven. The draw ends with the last that are used.
    last = max((place for place, name in enumerate(_ROWS) if name in wanted), default=-1)
    rows = dict(list(_ROWS.items())[: last + 1])
    generator = torch.Generator().manual_seed(seed)
    uniform = torch.rand(sum(rows.values()), len(batch), generator=generator).to(batch)
    return dict(zip(rows, torch.split(uniform, list(rows.values())), strict=True))
