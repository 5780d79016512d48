"""Records of a monitor on TensorBoard."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from normwise._optional import require
from normwise.errors import ArgumentError, explain
from normwise.monitor import LayerRecord, ModesRecord, NormRecord, Record, StepRecord


class TensorBoard:
    """A sink that writes each number of a record as a scalar.

    Tags are ``monitor/<number>/<layer>``, so that a number of all layers stands together; what was not measured is left
    out.

    Args:
        writer: a `SummaryWriter`, which stays its owner's to close; or a folder, for which one is made.

    Raises:
        ArgumentError: (a ValueError) neither of them.
        MissingPackageError: (an ImportError) a folder was given, and tensorboard is not installed.

    >>> class Writer:
    ...     def add_scalar(self, tag, value, step):
    ...         print(tag, value, step)
    >>> layer = LayerRecord("fc", "Linear", std=1.5)
    >>> TensorBoard(Writer())(StepRecord(7, True, (layer,), (), None, 1.0, None, False, 0, 0.0))
    monitor/clipping 1.0 7
    monitor/seconds 0.0 7
    monitor/std/fc 1.5 7
    """

    def __init__(self, writer: Any) -> None:
        if isinstance(writer, str | os.PathLike):
            require("tensorboard", extra="tensorboard", who="TensorBoard")
            writer = require("torch.utils.tensorboard", extra="tensorboard", who="TensorBoard").SummaryWriter(
                writer
            )
        if not callable(getattr(writer, "add_scalar", None)):
            must = "`writer` must be a SummaryWriter or a folder"
            raise ArgumentError(explain("TensorBoard", must, f"a value of type {type(writer).__name__}"))
        self._writer = writer

    def __call__(self, record: Record) -> None:
        """Write a record."""
        for tag, value in _scalars(record):
            self._writer.add_scalar(tag, value, record.step)


def _scalars(record: Record) -> Iterator[tuple[str, float]]:
    yield from _numbers(record, "monitor/modes" if isinstance(record, ModesRecord) else "monitor", "")
    if isinstance(record, StepRecord):
        for layer in record.layers:
            yield from _numbers(layer, "monitor", f"/{layer.name}")
            for quantile, value in zip(("p5", "p50", "p95"), layer.percentiles, strict=True):
                if value is not None:
                    yield f"monitor/{quantile}/{layer.name}", value
        for norm in record.norms:
            yield from _numbers(norm, "monitor", f"/{norm.name}")


def _numbers(
    record: Record | LayerRecord | NormRecord, before: str, after: str
) -> Iterator[tuple[str, float]]:
    for each in fields(record):
        value = getattr(record, each.name)
        if isinstance(value, float):
            yield f"{before}/{each.name}{after}", value
