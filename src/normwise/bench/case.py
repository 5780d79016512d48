"""One thing to time: an operation or a network, a shape, a memory layout, a dtype, a mode."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch

from normwise.bench.models import NETWORKS
from normwise.bench.ops import find_op
from normwise.errors import ArgumentError, explain, unknown_name
from normwise.results import Mode

Layout = Literal["contiguous", "channels_last"]
LAYOUTS: tuple[Layout, ...] = ("contiguous", "channels_last")
MODES: tuple[Mode, ...] = ("training", "evaluation", "step")
DTYPES: dict[str, torch.dtype] = {
    "float32": torch.float32,
    "float64": torch.float64,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


@dataclass(frozen=True)
class Case:
    """What is timed; how it is built stands in `ops`, `models` and `workload`.

    Attributes:
        op: the name of an operation, or of a network.
        group: the cases that are judged together; "" if no bar speaks of it.
        quick: whether `--quick` takes it.
    """

    op: str
    shape: tuple[int, ...]
    layout: Layout = "contiguous"
    dtype: str = "float32"
    mode: Mode = "training"
    group: str = ""
    quick: bool = False

    @property
    def is_network(self) -> bool:
        """Whether a whole network is timed."""
        return self.op in NETWORKS

    @property
    def name(self) -> str:
        """The case in one line, unique in a run.

        >>> Case("batch_norm", (32, 64, 56, 56), "channels_last").name
        'batch_norm 32x64x56x56 channels_last float32 training'
        """
        return f"{self.op} {'x'.join(map(str, self.shape))} {self.layout} {self.dtype} {self.mode}"

    @property
    def title(self) -> str:
        """The operation or network in words."""
        return NETWORKS[self.op].title if self.is_network else find_op(self.op).title

    @property
    def memory_format(self) -> torch.memory_format:
        """The memory format of the inputs."""
        if self.layout == "contiguous":
            return torch.contiguous_format
        return torch.channels_last if len(self.shape) == 4 else torch.channels_last_3d

    @property
    def bytes(self) -> int:
        """The size of one tensor of the input's shape."""
        return math.prod(self.shape) * DTYPES[self.dtype].itemsize


def own_case(
    op: str, shape: str, layout: str = "contiguous", dtype: str = "float32", mode: str = "training"
) -> Case:
    """Build a case from what a user typed.

    Raises:
        UnknownNameError: a name that is not known.
        ArgumentError: a shape that cannot be read, or that the operation or layout cannot take.

    >>> own_case("batch_norm", "64x256x14x14", dtype="bfloat16").shape
    (64, 256, 14, 14)
    """
    for what, got, known in (
        ("layout", layout, LAYOUTS),
        ("dtype", dtype, tuple(DTYPES)),
        ("mode", mode, MODES[:2]),
    ):
        if got not in known:
            raise unknown_name("bench", what, got, known)
    operation = find_op(op)
    sizes = parse_shape(shape)
    operation.check(sizes)
    if layout == "channels_last" and len(sizes) not in (4, 5):
        raise ArgumentError(
            explain("bench", "`--layout channels_last` must go with 4 or 5 axes", f"{len(sizes)} axes")
        )
    if not operation.inputs and mode == "evaluation":
        raise ArgumentError(explain("bench", "`--mode` must be training for a penalty", "evaluation"))
    return Case(
        op,
        sizes,
        next(known for known in LAYOUTS if known == layout),
        dtype,
        next(known for known in MODES if known == mode),
    )


def parse_shape(text: str) -> tuple[int, ...]:
    """Read a shape.

    Raises:
        ArgumentError: it is not made of whole numbers.

    >>> parse_shape("32x64"), parse_shape("8, 3, 32, 32")
    ((32, 64), (8, 3, 32, 32))
    """
    parts = text.lower().replace("×", "x").replace(",", "x").split("x")
    try:
        return tuple(int(part) for part in parts)
    except ValueError:
        raise ArgumentError(
            explain("bench", "`--shape` must be whole numbers", repr(text), "write it as 32x64x56x56")
        ) from None
