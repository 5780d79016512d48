"""The operations by name: what a magnitude means, its default and its bounds, and which data it is for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b

from normwise.errors import ArgumentError, explain, unknown_name

AXES = {"tables": 2, "sequences": 3, "images": 4}
"""Kinds of data by the number of axes of a batch: (N, F), (N, C, L) and (N, C, H, W)."""


@dataclass(frozen=True)
class Operation:
    """What a magnitude of an operation means.

    Attributes:
        meaning: what is drawn for each image or row; m is the magnitude.
        default: the magnitude that a bare name stands for.
        upper: the largest magnitude; the smallest is above 0.
        draws: how many uniform numbers an image takes; 0 where numbers are drawn for each of its entries.
        kinds: the data that it is for, among `AXES`.
    """

    meaning: str
    default: float
    upper: float
    draws: int
    kinds: tuple[str, ...] = ("images",)


_ANY = tuple(AXES)
_UNBOUNDED = float("inf")

# In the order of application.
OPERATIONS: dict[str, Operation] = {
    "flip": Operation("mirror left and right with probability m", 0.5, 1.0, 1),
    "shift": Operation("move by up to ± m of the width and, apart, of the height", 0.1, 1.0, 2),
    "rotate": Operation("turn about the centre by up to ± m degrees", 10.0, 180.0, 1),
    "scale": Operation("magnify about the centre by a factor from 1/(1 + m) to 1 + m", 0.1, 10.0, 1),
    "crop": Operation(
        "cut a window of sides 1 − m to 1 of the image, anywhere, and enlarge it", 0.2, 0.95, 3
    ),
    "brightness": Operation("add up to ± m, in the unit of the pixels", 0.2, _UNBOUNDED, 1),
    "swap": Operation(
        "give each entry, with probability m, its column's value in another row", 0.15, 1.0, 0, ("tables",)
    ),
    "drop": Operation("give each entry, with probability m, its column's mean", 0.1, 1.0, 0, ("tables",)),
    "amplitude": Operation(
        "multiply each channel by a normal number of mean 1 and deviation m", 0.1, 10.0, 0, ("sequences",)
    ),
    "noise": Operation("add normal noise of deviation m, in the unit of the data", 0.1, _UNBOUNDED, 0, _ANY),
    "randaugment": Operation("two operations of RandAugment at strength m of 30", 9.0, 30.0, 4),
    "trivialaugment": Operation("one operation at a strength of 0 to m of the whole range", 1.0, 1.0, 3),
    "augmix": Operation("mix with three chains of operations of severity up to m of 10", 3.0, 10.0, 34),
    "erase": Operation("replace a box of sides 0 to m of the image by its channels' means", 0.5, 1.0, 4),
    "timeshift": Operation("move by up to ± m of the length, whole steps", 0.1, 1.0, 1, ("sequences",)),
    "timemask": Operation(
        "replace a span of 0 to m of the length by its channels' means", 0.2, 1.0, 2, ("sequences",)
    ),
}

MIXES: dict[str, Operation] = {
    "mixup": Operation("average with another, λ of Beta(m, m)", 0.2, _UNBOUNDED, 0, _ANY),
    "cutmix": Operation("paste a box of another of area 1 − λ, λ of Beta(m, m)", 1.0, _UNBOUNDED, 0),
    "mosaic": Operation("with probability m, join a window onto four images", 0.5, 1.0, 0),
}
"""Operations that change targets along with inputs: for `build_mix`."""


def parse(spec: str, known: Mapping[str, Operation] = OPERATIONS) -> tuple[str, float]:
    """Return the name and the magnitude of ``"shift"`` or ``"shift:0.1"``.

    Raises:
        UnknownNameError: no operation has this name.
        ArgumentError: the magnitude is no number, or out of its bounds.
    """
    name, colon, text = spec.partition(":")
    name = name.strip()
    if name not in known:
        raise unknown_name("augment", "operation", name, known)
    operation = known[name]
    try:
        magnitude = float(text) if colon else operation.default
    except ValueError:
        magnitude = float("nan")
    if not (0 < magnitude <= operation.upper and magnitude != float("inf")):
        bound = "finite" if operation.upper == float("inf") else f"at most {operation.upper:g}"
        raise ArgumentError(
            explain(
                f"augment {name!r}",
                f"the magnitude must be above 0 and {bound} ({operation.meaning})",
                repr(spec),
                f"write '{name}:{operation.default:g}'",
            )
        )
    return name, magnitude


def stream(seed: int, name: str) -> int:
    """Return a seed for one operation's own generator, apart from those of other names and neighbouring seeds."""
    digest = blake2b(f"{seed}:{name}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def kind_of(axes: int) -> str | None:
    """Return the kind of data whose batches have so many axes."""
    return next((kind for kind, count in AXES.items() if count == axes), None)
