"""The operations by name: what a magnitude means, its default and its bounds."""

from __future__ import annotations

from dataclasses import dataclass

from normwise.errors import ArgumentError, explain, unknown_name


@dataclass(frozen=True)
class Operation:
    """What a magnitude of an operation means.

    Attributes:
        meaning: what is drawn for each image; m is the magnitude.
        default: the magnitude that a bare name stands for.
        upper: the largest magnitude; the smallest is above 0.
        draws: how many uniform numbers an image takes.
    """

    meaning: str
    default: float
    upper: float
    draws: int


OPERATIONS: dict[str, Operation] = {
    "flip": Operation("mirror left and right with probability m", 0.5, 1.0, 1),
    "shift": Operation("move by up to ± m of the width and, apart, of the height", 0.1, 1.0, 2),
    "rotate": Operation("turn about the centre by up to ± m degrees", 10.0, 180.0, 1),
    "scale": Operation("magnify about the centre by a factor from 1/(1 + m) to 1 + m", 0.1, 10.0, 1),
    "crop": Operation(
        "cut a window of sides 1 − m to 1 of the image, anywhere, and enlarge it", 0.2, 0.95, 3
    ),
    "brightness": Operation("add up to ± m, in the unit of the pixels", 0.2, float("inf"), 1),
    "erase": Operation("replace a box of sides 0 to m of the image by its channels' means", 0.5, 1.0, 4),
}


def parse(spec: str) -> tuple[str, float]:
    """Return the name and the magnitude of ``"shift"`` or ``"shift:0.1"``.

    Raises:
        UnknownNameError: no operation has this name.
        ArgumentError: the magnitude is no number, or out of its bounds.
    """
    name, colon, text = spec.partition(":")
    name = name.strip()
    if name not in OPERATIONS:
        raise unknown_name("augment", "operation", name, OPERATIONS)
    operation = OPERATIONS[name]
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
