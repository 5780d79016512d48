from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from normwise.data import Dataset, load
from normwise.errors import DataError, UnknownNameError

LABELS = np.arange(20) % 2


def _random(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape)


def _load(tmp_path: Path, wanted: str | None = None, /, **arrays: Any) -> Dataset:
    np.savez(tmp_path / "set.npz", **arrays)
    return load(str(tmp_path / "set.npz"), target=wanted)


@pytest.mark.parametrize("names", [("x", "y"), ("X", "Y"), ("data", "target"), ("images", "labels")])
def test_names_of_the_arrays(tmp_path: Path, names: tuple[str, str]) -> None:
    data = _load(tmp_path, **{names[0]: _random(20, 3), names[1]: LABELS, "extra": np.array(1)})
    assert (data.name, data.kind, data.inputs, data.target) == ("set", "array", "3 numeric columns", names[1])
    assert data.notes == ("inputs of shape (20, 3) read as (rows, columns)",)


def test_target_by_name(tmp_path: Path) -> None:
    data = _load(tmp_path, "height", pixels=_random(20, 3), height=_random(20))
    assert (data.task, data.target) == ("regression", "height")


@pytest.mark.parametrize(
    ("shape", "dtype", "in_shape", "words", "read"),
    [
        ((20, 5, 4), np.uint8, (1, 5, 4), "4×5 grey images", "(images, height, width)"),
        ((20, 3, 5, 4), np.uint8, (3, 5, 4), "4×5 colour images", "(images, channels, height, width)"),
        ((20, 5, 4, 3), np.uint8, (3, 5, 4), "4×5 colour images", "(images, height, width, channels)"),
        ((20, 5, 4, 1), np.float64, (1, 5, 4), "4×5 grey images", "(images, height, width, channels)"),
        ((20, 1, 4, 3), np.int64, (1, 4, 3), "3×4 grey images", "(images, channels, height, width)"),
        (
            (20, 7, 4, 5),
            np.float32,
            (7, 4, 5),
            "5×4 images of 7 channels",
            "(images, channels, height, width)",
        ),
    ],
)
def test_axes_of_images(
    tmp_path: Path, shape: tuple[int, ...], dtype: type, in_shape: tuple[int, ...], words: str, read: str
) -> None:
    x = (np.random.default_rng(0).random(shape) * 200).astype(dtype)
    data = _load(tmp_path, x=x, y=LABELS)
    assert (data.kind, data.in_shape, data.inputs) == ("image", in_shape, words)
    assert data.notes == (f"inputs of shape {shape} read as {read}",)
    split = data.split(0)
    assert split.train.inputs.shape[1:] == in_shape
    assert split.train.inputs.is_contiguous()


def test_channels_last_pixels_land_in_their_channel(tmp_path: Path) -> None:
    x = np.zeros((20, 4, 4, 3), dtype=np.uint8)
    x[..., 1] = np.random.default_rng(0).integers(0, 256, (20, 4, 4))
    inputs = _load(tmp_path, x=x, y=LABELS).split(0).train.inputs
    assert inputs[:, 1].std() > 0.5
    assert torch.count_nonzero(inputs[:, [0, 2]]) == 0


def test_fixed_test_arrays(tmp_path: Path) -> None:
    y_test = np.array([1, 0, 0, 1, 1])
    data = _load(tmp_path, x_train=_random(20, 3), y_train=LABELS, x_test=_random(5, 3), y_test=y_test)
    assert sorted(data.split(4).test.targets.tolist()) == sorted(y_test.tolist())
    assert data.notes[0] == "x_test and y_test (5 rows) are the test part of every split"


@pytest.mark.parametrize("shape", [(20, 3), (20, 4, 5), (20, 3, 4, 5)])
def test_the_order_in_memory_changes_nothing(tmp_path: Path, shape: tuple[int, ...]) -> None:
    x = _random(*shape)
    rows = _load(tmp_path, x=x, y=LABELS).split(0)
    columns = _load(tmp_path, x=np.asfortranarray(x), y=LABELS).split(0)
    assert columns.train.inputs.is_contiguous()
    assert torch.allclose(rows.train.inputs, columns.train.inputs, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.float64, np.int64, np.bool_])
def test_one_hot_and_column_targets(tmp_path: Path, dtype: type) -> None:
    one_hot: np.ndarray = np.eye(3)[np.arange(21) % 3].astype(dtype)
    data = _load(tmp_path, x=_random(21, 2), y=one_hot)
    assert data.classes == ("0", "1", "2")
    assert "'y' is one-hot and was read as 3 classes" in data.notes
    assert _load(tmp_path, x=_random(20, 2), y=LABELS[:, None].astype(dtype)).task == "classification"


def test_words_as_targets(tmp_path: Path) -> None:
    assert _load(tmp_path, x=_random(20, 2), y=np.array(["no", "yes"] * 10)).classes == ("no", "yes")


@pytest.mark.parametrize(
    ("value", "words"),
    [(np.nan, "2 values NaN"), (np.inf, "2 values infinite"), (-1e31, "2 values infinite or beyond")],
)
def test_numbers_that_are_not_finite_are_counted(tmp_path: Path, value: float, words: str) -> None:
    x = _random(20, 3)
    x[4, 1] = x[9, 0] = value
    with pytest.raises(DataError, match=f"Got {words}.* the first in row 5"):
        _load(tmp_path, x=x, y=LABELS)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": _random(20, 2), "y": LABELS[:19]}, r"equally long. Got the shapes \(20, 2\) and \(19,\)"),
        ({"x": _random(20), "y": LABELS}, r"Got the shape \(20,\)"),
        ({"x": _random(20, 2, 2, 2, 2), "y": LABELS}, r"Got the shape \(20, 2, 2, 2, 2\)"),
        ({"x": _random(20, 0), "y": LABELS}, r"Got the shape \(20, 0\)"),
        ({"x": np.array(["a"] * 20), "y": LABELS}, "must be numbers. Got the type <U1"),
        ({"x": _random(20, 2) * 1j, "y": LABELS}, "must be numbers. Got the type complex128"),
        ({"x": _random(20, 2), "y": _random(20, 2)}, "one number or word a row"),
        ({"x": _random(20, 2), "y": LABELS * 1j}, "one number or word a row"),
        ({"x": _random(20, 2), "z": LABELS}, "recognisably the target. Got 'x', 'z'"),
        ({"x": _random(20, 2), "y": LABELS, "label": LABELS}, "recognisably the target. Got 'y', 'label'"),
        (
            {"x": _random(20, 2), "data": _random(20, 2), "y": LABELS},
            "recognisably the input. Got 'x', 'data'",
        ),
        ({"y": LABELS}, "recognisably the input. Got 'y' alone"),
        ({"x": _random(9, 2), "y": LABELS[:9]}, "at least 10 usable rows"),
        ({"x": _random(20, 2), "y": np.where(LABELS, np.nan, 1.0)}, "the first one nan in row 2"),
        (
            {"x_train": _random(20, 2), "y_train": LABELS, "x_test": _random(5, 3), "y_test": LABELS[:5]},
            "must agree in shape. Got 20×2, 20, 5×3, 5",
        ),
    ],
)
def test_arrays_that_cannot_be_used(tmp_path: Path, arrays: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(DataError, match=message):
        _load(tmp_path, **arrays)


def test_half_precision(tmp_path: Path) -> None:
    x = _random(20, 3).astype(np.float16)
    assert _load(tmp_path, x=x, y=LABELS).rows == 20
    x[2, 0] = -np.inf
    with pytest.raises(DataError, match=r"1 value infinite .* the first in row 3"):
        _load(tmp_path, x=x, y=LABELS)


def test_unknown_target(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'height'"):
        _load(tmp_path, "hieght", x=_random(20, 3), height=_random(20))
