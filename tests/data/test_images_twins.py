from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from normwise.data.dataset import Dataset
from normwise.data.images import load_images


def _warnings(data: Dataset) -> tuple[str, ...]:
    """All but that the classes of a test are small."""
    return tuple(said for said in data.warnings if "too few to tell" not in said)


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NORMWISE_CACHE", str(tmp_path_factory.mktemp("cache")))


def _paint(root: Path, folder: str, numbers: range) -> None:
    (root / folder).mkdir(parents=True, exist_ok=True)
    for number in numbers:
        pixels = np.random.default_rng(number).integers(0, 256, (4, 6), dtype=np.uint8)
        Image.fromarray(pixels).save(root / folder / f"{number}.png")


def test_without_equal_files_there_are_no_groups(tmp_path: Path) -> None:
    _paint(tmp_path, "a", range(6))
    _paint(tmp_path, "b", range(10, 16))
    data = load_images(tmp_path, task=None)
    assert (data._dealing.groups, data.notes, _warnings(data)) == (None, (), ())


def test_equal_files_stay_in_one_part(tmp_path: Path) -> None:
    _paint(tmp_path, "a", range(10))
    _paint(tmp_path, "b", range(10, 20))
    for folder, number in (("a", 3), ("b", 17)):
        for copy in ("x", "y"):
            shutil.copy(tmp_path / folder / f"{number}.png", tmp_path / folder / f"{copy}.png")
    data = load_images(tmp_path, task=None)
    assert data.notes == ("4 files equal to another, byte for byte; equal files stay in one part",)
    assert _warnings(data) == ()
    twins = [3, 10, 11], [12 + 7, 22, 23]
    assert data._dealing.groups is not None
    for group in twins:
        assert len(set(data._dealing.groups[group].tolist())) == 1
    assert len(np.unique(data._dealing.groups)) == 20
    # Through the door: the pixels of equal files are in one part under every seed.
    seen = np.stack([data._contents.pixels[group[0]] for group in twins]).reshape(2, -1)
    for seed in range(5):
        split = data.split(seed)
        for pixels in seen:
            wanted = (pixels - pixels.mean()) / pixels.std()
            holding = 0
            for part in (split.train, split.validation, split.test):
                rows = part.inputs.numpy().reshape(len(part.inputs), -1)
                rows = (rows - rows.mean(1, keepdims=True)) / rows.std(1, keepdims=True)
                holding += bool((np.abs(rows - wanted).max(1) < 1e-3).any())
            assert holding == 1


def test_equal_files_of_two_classes_are_warned_of(tmp_path: Path) -> None:
    _paint(tmp_path, "a", range(6))
    _paint(tmp_path, "b", range(5, 12))
    assert _warnings(load_images(tmp_path, task=None)) == (
        "1 image is there under different labels, such as 'a/5.png' and 'b/5.png': one of them is wrong",
    )


def test_equal_files_in_two_parts_are_warned_of(tmp_path: Path) -> None:
    for part, shift in (("train", 0), ("val", 100), ("test", 200)):
        _paint(tmp_path, f"{part}/a", range(shift, shift + 6))
        _paint(tmp_path, f"{part}/b", range(shift + 10, shift + 16))
    _paint(tmp_path, "test/a", range(2, 4))
    _paint(tmp_path, "val/b", range(12, 13))
    data = load_images(tmp_path, task=None)
    assert _warnings(data) == (
        "2 images are both in test and in another part, such as 'train/a/2.png' and 'test/a/2.png': "
        "scores on test flatter networks that remember",
        "1 image is both in validation and in another part, such as 'train/b/12.png' and 'val/b/12.png': "
        "scores on validation flatter networks that remember",
    )
    assert data.notes[-1] == (
        "3 files equal to another, byte for byte; equal files stay in one part where they are free to"
    )


def test_files_of_one_size_are_not_equal_for_that(tmp_path: Path) -> None:
    for name, level in (("a", 10), ("b", 200)):
        (tmp_path / name).mkdir()
        for index in range(6):
            Image.new("L", (6, 4), level + index).save(tmp_path / name / f"{index}.bmp")
    sizes = {path.stat().st_size for path in tmp_path.glob("*/*.bmp")}
    assert len(sizes) == 1
    assert load_images(tmp_path, task=None).notes == ()
