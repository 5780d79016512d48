"""Arrays from `.npz` files: which is the input, which the target, and what the axes mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from normwise.data.contents import Contents, ImageContents, TableContents
from normwise.data.dataset import Dataset, assemble
from normwise.data.npz import read_npz
from normwise.data.roles import without
from normwise.data.split import free_then_test
from normwise.data.task import LARGEST, Task, read_target
from normwise.data.wording import count, listing, shape_words
from normwise.errors import ArgumentError, DataError, explain, unknown_name

INPUT_KEYS = ("x", "data", "images", "inputs", "features")
TARGET_KEYS = ("y", "target", "targets", "label", "labels")

_SHAPES = "(N, F), (N, H, W), (N, C, H, W), or (N, H, W, C) with C 1 or 3"

_Array = npt.NDArray[np.generic]


def load_npz(path: Path, *, target: str | None, task: Task | None, drop: Sequence[str] = ()) -> Dataset:
    """Read an `.npz` file with an array of inputs and one of targets.

    Inputs are called x, data, images, inputs or features, targets y, target, targets, label or labels, in
    either case. `target` names the array to predict. Arrays x_train, y_train, x_test and y_test are
    understood too; then the test arrays stay the test part of every split. Inputs are (N, F), (N, H, W), (N,
    C, H, W), or (N, H, W, C) with C 1 or 3. `drop` names columns of an (N, F) array, "column 1" the first.

    Raises:
        DataError: see `read_npz`; NaN or infinity; lengths that differ; shapes without a meaning.
        UnknownNameError: no array called `target`.
    """
    arrays = read_npz(path)
    notes: tuple[str, ...] = ()
    fixed = None
    lowered = {key.lower(): key for key in arrays}
    four = [lowered.get(key) for key in ("x_train", "y_train", "x_test", "y_test")]
    if target is None and all(four):
        x, y, x_test, y_test = (arrays[str(key)] for key in four)
        if x.shape[1:] != x_test.shape[1:] or y.shape[1:] != y_test.shape[1:] or x.ndim == 0 or y.ndim == 0:
            got = ", ".join(shape_words(array.shape) or "a number" for array in (x, y, x_test, y_test))
            raise DataError(explain("load", f"training and test arrays of {path} must agree in shape", got))
        _check_lengths(path, x_test, y_test)
        fixed = free_then_test(len(x), len(x_test))
        notes = (f"x_test and y_test ({count(len(x_test), 'row')}) are the test part of every split",)
        _check_lengths(path, x, y)
        x, y, name = np.concatenate([x, x_test]), np.concatenate([y, y_test]), "y"
    else:
        name, inputs = _choose(path, arrays, target)
        x, y = arrays[inputs], arrays[name]
        _check_lengths(path, x, y)
    contents, note = read_inputs(path.name, x)
    values, found = _flat_target(path, name, y)
    images = isinstance(contents, ImageContents)
    if isinstance(contents, TableContents):
        contents = without(contents, drop, path.name)
    elif drop:
        got = f"drop={listing(drop)}"
        raise ArgumentError(
            explain("load", f"{path} has images, no columns", got, "leave `drop` away for it")
        )
    return assemble(
        name=path.stem,
        source=str(path),
        kind="image" if images else "array",
        contents=contents,
        target=read_target(name, values, task=task, images=images),
        notes=(*notes, note, *found),
        fixed=fixed,
    )


def read_inputs(where: str, x: _Array) -> tuple[Contents, str]:
    """Understand the axes of an input array; return it as contents with a note on how it was read.

    Raises:
        DataError: no numbers, NaN, infinity, no rows, or a shape without a meaning.
    """
    if x.dtype.kind not in "buif":
        raise DataError(explain("load", f"the inputs of {where} must be numbers", f"the type {x.dtype}"))
    if x.size == 0 or x.ndim not in (2, 3, 4):
        raise DataError(
            explain(
                "load",
                f"the inputs of {where} must be {_SHAPES}",
                f"the shape {x.shape}",
                "reshape them before saving",
            )
        )
    _check_finite(where, x)
    said = f"inputs of shape {x.shape} read as "
    if x.ndim == 2:
        names = tuple(f"column {index}" for index in range(1, x.shape[1] + 1))
        return TableContents(names, x.astype(np.float64)), said + "(rows, columns)"
    if x.dtype == np.uint8:
        return _images(x.astype(np.uint8, copy=False), said)
    return _images(x.astype(np.float32, copy=False), said)


def _images(x: npt.NDArray[np.uint8] | npt.NDArray[np.float32], said: str) -> tuple[Contents, str]:
    if x.ndim == 3:
        return ImageContents(x[:, None]), said + "(images, height, width)"
    if x.shape[3] in (1, 3) and x.shape[1] not in (1, 3):
        return ImageContents(x.transpose(0, 3, 1, 2).copy()), said + "(images, height, width, channels)"
    return ImageContents(x), said + "(images, channels, height, width)"


def _choose(path: Path, arrays: Mapping[str, _Array], target: str | None) -> tuple[str, str]:
    """Return the keys of target and inputs."""
    hint = f"name the arrays {INPUT_KEYS[0]!r} and {TARGET_KEYS[0]!r}, or give the target's name"
    if target is None:
        targets = [key for key in arrays if key.lower() in TARGET_KEYS]
        if len(targets) != 1:
            got = listing(targets or list(arrays), limit=10)
            raise DataError(
                explain("load", f"{path} must have one array that is recognisably the target", got, hint)
            )
        target = targets[0]
    elif target not in arrays:
        raise unknown_name("load", f"array of {path}", target, arrays)
    others = [key for key in arrays if key != target]
    inputs = [key for key in others if key.lower() in INPUT_KEYS] or others
    if len(inputs) != 1:
        got = listing(inputs, limit=10) if inputs else f"{target!r} alone"
        raise DataError(
            explain("load", f"{path} must have one array that is recognisably the input", got, hint)
        )
    return target, inputs[0]


def _check_lengths(path: Path, x: _Array, y: _Array) -> None:
    if x.ndim == 0 or y.ndim == 0 or len(x) != len(y):
        raise DataError(
            explain(
                "load",
                f"inputs and targets of {path} must be equally long",
                f"the shapes {x.shape} and {y.shape}",
            )
        )


def _flat_target(path: Path, name: str, y: _Array) -> tuple[_Array, tuple[str, ...]]:
    if y.ndim == 2 and y.shape[1] == 1:
        return y[:, 0], ()
    if y.ndim == 2 and y.dtype.kind in "buif" and np.isin(y, (0, 1)).all() and (y.sum(axis=1) == 1).all():
        return y.argmax(axis=1), (f"{name!r} is one-hot and was read as {y.shape[1]} classes",)
    if y.ndim == 1 and y.dtype.kind in "buifUS":
        return y, ()
    raise DataError(
        explain(
            "load",
            f"the target {name!r} of {path} must be one number or word a row, or one-hot classes",
            f"the shape {y.shape} of type {y.dtype}",
            "save one target",
        )
    )


def _check_finite(where: str, x: _Array) -> None:
    if x.dtype.kind != "f":
        return
    # Half precision cannot hold the limit itself, nor anything beyond it but infinity.
    large = np.isinf(x) if x.dtype == np.float16 else np.abs(x) > LARGEST
    for words, bad in (("NaN", np.isnan(x)), ("infinite or beyond ±1e30", large)):
        if bad.any():
            first = int(np.argmax(bad.reshape(len(x), -1).any(axis=1)))
            raise DataError(
                explain(
                    "load",
                    f"the inputs of {where} must be finite numbers",
                    f"{count(int(bad.sum()), 'value')} {words}, the first in row {first + 1}",
                    "impute or remove these rows before saving",
                )
            )
