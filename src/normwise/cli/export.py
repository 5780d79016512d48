"""A model in evaluation written in forms that need no source."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from normwise._optional import require as required
from normwise.cli.output_files import first_line
from normwise.errors import ArgumentError, explain
from normwise.models.user_guard import stdout_to_stderr


def write_program(who: str, model: nn.Module, example: Tensor, file: Path) -> None:
    """Write a model in evaluation as a program of `torch.export` that takes a batch of any size."""
    with _exporting(who, "--exported-program"):
        shapes = ({0: torch.export.Dim("batch", min=1)},)
        exported = torch.export.export(model.eval(), (example,), dynamic_shapes=shapes)
    torch.export.save(exported, file)


def write_onnx(who: str, model: nn.Module, example: Tensor, file: Path) -> None:
    """Write a model in evaluation as ONNX that takes a batch of any size."""
    with _exporting(who, "--onnx"), stdout_to_stderr(), _quiet():
        shapes = ({0: torch.export.Dim("batch", min=1)},)
        made: Any = torch.onnx.export(
            model.eval(), (example,), dynamo=True, dynamic_shapes=shapes, verbose=False
        )
    made.save(str(file))


def check_onnx(onnx: Path | None) -> None:
    """Raise `MissingPackageError`, an ImportError, where ONNX is asked for and its packages are not there."""
    if onnx is not None:
        required("onnxscript", extra="onnx", who="--onnx")


@contextlib.contextmanager
def _exporting(who: str, option: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        # The tracer's errors are of many classes, and those of the user's code come through it.
        must, hint = f"torch must be able to export the model for {option}", f"leave {option} out"
        raise ArgumentError(explain(who, must, first_line(error), hint)) from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's warnings of torch's own deprecated functions, and of packages that it could know."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            logger.setLevel(level)
