from __future__ import annotations

import gzip
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from normwise.data import load, names as names_module
from normwise.data.idx import read_idx
from normwise.errors import ArgumentError, DataError

WriteIdx = Callable[..., None]


def _images(seed: int, count: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 5, 4), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path: Path, write_idx: WriteIdx) -> Path:
    write_idx(tmp_path / "train-images-idx3-ubyte.gz", _images(0, 30))
    write_idx(tmp_path / "train-labels-idx1-ubyte.gz", np.arange(30) % 3)
    write_idx(tmp_path / "t10k-images-idx3-ubyte", _images(1, 9))
    write_idx(tmp_path / "t10k-labels-idx1-ubyte", np.arange(9) % 3)
    (tmp_path / "readme.txt").write_text("hello")
    return tmp_path


def test_the_test_images_stay_the_test_part(folder: Path) -> None:
    data = load(str(folder))
    assert (data.kind, data.inputs, data.rows) == ("image", "4×5 grey images", 39)
    assert (data.classes, data.in_shape) == (("0", "1", "2"), (1, 5, 4))
    assert data.notes == ("the 9 test images of the folder are the test part of every split",)
    first, second = data.split(0), data.split(1)
    assert (
        sorted(first.test.targets.tolist())
        == sorted(second.test.targets.tolist())
        == [0] * 3 + [1] * 3 + [2] * 3
    )
    assert first.train.targets.tolist() != second.train.targets.tolist()
    train = first.train.inputs
    assert [len(part.targets) for part in (first.train, first.validation, first.test)] == [22, 8, 9]
    assert train.mean().item() == pytest.approx(0, abs=1e-5)
    shown, pixels = first.test.inputs[:, 0].double(), torch.from_numpy(_images(1, 9)).double()
    in_order = [part[part[:, 0, 0].argsort(stable=True)] for part in (shown, pixels)]
    standardise = [(part - part.mean()) / part.std() for part in in_order]
    torch.testing.assert_close(*standardise, rtol=0, atol=1e-5)


def test_without_test_images_all_parts_are_dealt(folder: Path) -> None:
    (folder / "t10k-images-idx3-ubyte").unlink()
    (folder / "t10k-labels-idx1-ubyte").unlink()
    data = load(str(folder))
    assert data.rows == 30
    assert len(data.split(0).test.targets) == 6


def test_labels_with_gaps_keep_their_names(folder: Path, write_idx: WriteIdx) -> None:
    write_idx(folder / "train-labels-idx1-ubyte.gz", np.arange(30) % 3 * 4)
    write_idx(folder / "t10k-labels-idx1-ubyte", np.arange(9) % 3 * 4)
    assert load(str(folder)).classes == ("0", "4", "8")


def test_fashion_mnist_is_a_folder_with_named_classes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names_module, "FASHION_FOLDER", folder)
    data = load("Fashion_MNIST")
    assert (data.name, data.classes) == ("fashion-mnist", ("T-shirt/top", "Trouser", "Pullover"))


@pytest.mark.parametrize(
    ("remove", "message"),
    [
        ("t10k-labels-idx1-ubyte", "must have labels for its test part"),
        ("train-images-idx3-ubyte.gz", "must have images for its train part"),
    ],
)
def test_missing_files(folder: Path, remove: str, message: str) -> None:
    (folder / remove).unlink()
    with pytest.raises(DataError, match=message):
        load(str(folder))


def test_folders_that_contradict_themselves(folder: Path, write_idx: WriteIdx) -> None:
    write_idx(folder / "t10k-labels-idx1-ubyte", np.arange(8) % 3)
    with pytest.raises(DataError, match="9 images and 8 labels"):
        load(str(folder))
    write_idx(folder / "t10k-labels-idx1-ubyte", np.arange(9) % 3)
    write_idx(folder / "t10k-images-idx3-ubyte", np.zeros((9, 4, 4)))
    with pytest.raises(DataError, match=r"one shape. Got 5×4 and 4×4"):
        load(str(folder))
    write_idx(folder / "other-train-images-idx3-ubyte", _images(0, 30))
    with pytest.raises(DataError, match="must hold one IDX data set"):
        load(str(folder))


def test_one_class(folder: Path, write_idx: WriteIdx) -> None:
    write_idx(folder / "train-labels-idx1-ubyte.gz", np.ones(30))
    write_idx(folder / "t10k-labels-idx1-ubyte", np.ones(9))
    with pytest.raises(DataError, match=r"at least two classes. Got the label 1 alone"):
        load(str(folder))


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize(
    ("header", "values", "message"),
    [
        (
            bytes((0, 0, 9, 1)) + struct.pack(">I", 4),
            4,
            "IDX file of unsigned bytes.*Got the header 00 00 09 01",
        ),
        (bytes((0, 0, 8, 3)) + struct.pack(">I", 4), 4, "Got the header 00 00 08 03"),
        (bytes((0, 0, 8, 1)), 0, "Got the header 00 00 08 01"),
        (b"", 0, r"Got the header \(empty\)"),
        (bytes((0, 0, 8, 1)) + struct.pack(">I", 5), 4, "the 5 bytes that its header names. Got 4"),
        (bytes((0, 0, 8, 1)) + struct.pack(">I", 3), 4, "the 3 bytes that its header names. Got more"),
        (
            bytes((0, 0, 8, 1)) + struct.pack(">I", 2**32 - 1),
            4,
            "2 GiB of values. Got a header of 4,294,967,295",
        ),
        (bytes((0, 0, 8, 1)) + struct.pack(">I", 0), 0, "Got a header of 0 bytes"),
    ],
)
def test_files_are_held_against_their_header(
    tmp_path: Path, suffix: str, header: bytes, values: int, message: str
) -> None:
    path = tmp_path / f"a{suffix}"
    data = header + bytes(values)
    path.write_bytes(gzip.compress(data) if suffix else data)
    with pytest.raises(DataError, match=message):
        read_idx(path, dimensions=1)


@pytest.mark.parametrize("damage", [lambda data: b"no gzip" + data, lambda data: data[:-12]])
def test_damaged_gzip(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    data = bytes((0, 0, 8, 1)) + struct.pack(">I", 400) + np.random.default_rng(0).bytes(400)
    path = tmp_path / "a.gz"
    path.write_bytes(damage(gzip.compress(data)))
    with pytest.raises(DataError, match="must be readable"):
        read_idx(path, dimensions=1)


def test_options_that_labels_do_not_have(folder: Path) -> None:
    with pytest.raises(ArgumentError, match="target='x'"):
        load(str(folder), target="x")
    with pytest.raises(ArgumentError, match="image_size=3"):
        load(str(folder), image_size=3)
