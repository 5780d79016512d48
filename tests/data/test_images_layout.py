from __future__ import annotations

import itertools
import os
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from normwise.data import load
from normwise.data.dataset import Dataset
from normwise.errors import DataError

Paint = Callable[[str, int], None]


def _warnings(data: Dataset) -> tuple[str, ...]:
    """All but that the classes of a test are small."""
    return tuple(said for said in data.warnings if "too few to tell" not in said)


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NORMWISE_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


@pytest.fixture
def paint(root: Path) -> Paint:
    """Write images that all differ into a folder."""
    serial = itertools.count()

    def paint(folder: str, number: int) -> None:
        (root / folder).mkdir(parents=True, exist_ok=True)
        for _ in range(number):
            index = next(serial)
            pixels = np.random.default_rng(index).integers(0, 256, (4, 6), dtype=np.uint8)
            Image.fromarray(pixels).save(root / folder / f"{index}.png")

    return paint


def _fixed(data: Dataset) -> list[int] | None:
    fixed = data._dealing.fixed
    return None if fixed is None else np.bincount(fixed + 1, minlength=4).tolist()


def test_images_anywhere_below_a_class_belong_to_it(root: Path, paint: Paint) -> None:
    for folder in ("tiere/katze/jung", "tiere/hund", "dinge"):
        paint(folder, 4)
    data = load(str(root))
    assert (data.classes, data.class_counts) == (("dinge", "tiere"), (4, 8))
    assert data.notes == (
        "images in sub-folders of a class belong to the class: 'tiere/hund', 'tiere/katze'",
    )


def test_names_in_any_writing(root: Path, paint: Paint) -> None:
    for folder in ("猫", "big dog", "Straße 7", unicodedata.normalize("NFD", "Grün")):
        paint(folder, 4)
    assert load(str(root)).classes == ("big dog", unicodedata.normalize("NFC", "Grün"), "Straße 7", "猫")


@pytest.mark.parametrize("wrapper", ["dataset", "archive/dataset", "Train"])
def test_a_folder_around_everything_is_entered(root: Path, paint: Paint, wrapper: str) -> None:
    paint(f"{wrapper}/a", 5)
    paint(f"{wrapper}/b", 5)
    data = load(str(root))
    assert (data.name, data.classes) == ("root", ("a", "b"))
    assert data.notes == (f"read from the folder {wrapper!r}, which holds everything",)
    assert _fixed(data) is None


@pytest.mark.parametrize(
    ("train", "validation", "test"),
    [
        ("train", "val", "test"),
        ("Training", "VALID", "Testing"),
        ("TRAIN", "validation", "test"),
        ("train", "dev", "test"),
        ("training_set", "valid-data", "test_set"),
        ("TrainImages", "eval", "test1"),
        ("训练集", "验证集", "测试集"),
    ],
)
def test_parts_stay_as_they_were_dealt(
    root: Path, paint: Paint, train: str, validation: str, test: str
) -> None:
    for part, number in ((train, 6), (validation, 3), (test, 4)):
        for label in ("a", "b"):
            paint(f"data/{part}/{label}", number)
    data = load(str(root))
    assert _fixed(data) == [0, 12, 6, 8]
    assert data.class_counts == (13, 13)
    assert data.notes == (
        "every split has the parts of the folder: train (12 images), validation (6 images), test (8 images)",
        "read from the folder 'data', which holds everything",
    )
    split = data.split(0)
    assert [len(part.inputs) for part in (split.train, split.validation, split.test)] == [12, 6, 8]


def test_a_missing_validation_part_is_dealt_from_train(root: Path, paint: Paint) -> None:
    for part, number in (("train", 8), ("test", 4)):
        for label in ("a", "b"):
            paint(f"{part}/{label}", number)
    data = load(str(root))
    assert _fixed(data) == [16, 0, 0, 8]
    assert data.notes[0].endswith("train (16 images), test (8 images); validation is dealt from train")
    assert len(data.split(0).validation.inputs) == 4


def test_a_missing_test_part_is_dealt_from_train(root: Path, paint: Paint) -> None:
    for part, number in (("train", 8), ("val", 4)):
        for label in ("a", "b"):
            paint(f"{part}/{label}", number)
    data = load(str(root))
    assert _fixed(data) == [16, 0, 8, 0]
    assert data.notes[0].endswith("; test is dealt from train")
    assert len(data.split(0).test.inputs) == 4


@pytest.mark.parametrize("flat", ["test", "test/unknown"])
def test_test_images_without_labels_are_ignored(root: Path, paint: Paint, flat: str) -> None:
    for label in ("a", "b"):
        paint(f"train/{label}", 6)
    paint(flat, 5)
    data = load(str(root))
    assert (data.rows, _fixed(data)) == (12, None)
    assert [note for note in data.notes if "ignored" in note] == [
        "5 images in 'test' ignored: no class folders, so no labels"
    ]


def test_parts_inside_of_classes(root: Path, paint: Paint) -> None:
    for label in ("a", "b"):
        paint(f"{label}/train", 6)
        paint(f"{label}/test/more", 3)
    data = load(str(root))
    assert (data.classes, _fixed(data)) == (("a", "b"), [12, 0, 0, 6])


def test_classes_that_all_hold_the_same_folders_are_warned_of(root: Path, paint: Paint) -> None:
    for kind in ("color", "grey"):
        for label in ("ill", "well"):
            paint(f"{kind}/{label}", 4)
    (said,) = _warnings(load(str(root)))
    assert said.startswith("'color', 'grey' are taken as the classes, and all of them hold 'ill', 'well': if")
    paint("grey/doubtful", 1)
    assert _warnings(load(str(root))) == ()


def test_masks_of_images_are_warned_of(root: Path, paint: Paint) -> None:
    paint("images", 6)
    paint("masks", 6)
    assert _warnings(load(str(root))) == ()
    for mask, image in zip((root / "masks").iterdir(), (root / "images").iterdir(), strict=True):
        mask.rename(root / "masks" / image.name)
    assert _warnings(load(str(root))) == (
        "'masks' is taken as a class, and its files are called as those in 'images': masks of images are no class",
    )


def test_a_class_may_be_called_train(root: Path, paint: Paint) -> None:
    for label in ("train", "car", "plane"):
        paint(label, 4)
    assert load(str(root)).classes == ("car", "plane", "train")


def test_a_class_that_a_part_lacks_is_warned_of(root: Path, paint: Paint) -> None:
    for label in ("a", "b", "c"):
        paint(f"train/{label}", 6)
    for label in ("a", "b"):
        paint(f"test/{label}", 3)
    assert _warnings(load(str(root))) == (
        "no images of the class 'c' in test: nothing is measured of them there",
    )


def test_small_classes_and_those_that_look_alike_are_warned_of(root: Path, paint: Paint) -> None:
    paint("cat", 12)
    paint("Dog", 12)
    assert load(str(root)).warnings == ()
    paint("dog ", 4)
    alike, small = load(str(root)).warnings
    assert "'Dog'" in alike
    assert (
        small
        == "1 class of the target has fewer than 10 rows: 'dog ' (4), too few to tell how well they are predicted"
    )


@pytest.mark.parametrize("parts", [("train", "test"), ("train",)])
def test_a_folder_beside_the_parts_is_ignored(root: Path, paint: Paint, parts: tuple[str, ...]) -> None:
    for part in parts:
        for label in ("a", "b"):
            paint(f"{part}/{label}", 6)
    paint("drafts", 2)
    data = load(str(root))
    assert (data.rows, data.classes) == (12 * len(parts), ("a", "b"))
    assert _warnings(data) == ("2 images in 'drafts' ignored, which is no train, validation or test",)


def test_nested_classes_may_be_called_train(root: Path, paint: Paint) -> None:
    for folder in ("train/tgv", "train/ice", "car/vw", "car/bmw"):
        paint(folder, 4)
    assert load(str(root)).classes == ("car", "train")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse names that are no UTF-8")
def test_names_of_another_encoding(root: Path, paint: Paint) -> None:
    for name in ("鱼", "狗"):
        paint(name, 5)
        os.rename(root / name, os.fsencode(root) + b"/" + name.encode("gbk"))
    broken = root / os.fsdecode("鱼".encode("gbk")) / "x.png"
    assert load(str(root)).classes == ("狗", "鱼")
    broken.write_bytes(b"")
    with pytest.raises(DataError, match=r"root/鱼/x\.png must be an image that can be read"):
        load(str(root))


def test_clutter_is_passed_over_and_the_rest_is_said(root: Path, paint: Paint) -> None:
    paint("a", 5)
    paint("b", 5)
    for clutter in ("__MACOSX/a", ".hidden", "@eaDir"):
        paint(clutter, 1)
    for name in (".DS_Store", "a/Thumbs.db", "a/._0.png", "b/desktop.ini", "a/labels.txt", "notes.md"):
        (root / name).write_text("x")
    (root / "drafts" / "old").mkdir(parents=True)
    paint(".", 1)
    assert load(str(root)).notes == (
        "1 sub-folder without images ignored: 'drafts'",
        "3 files that are no labelled images ignored: '13.png', 'a/labels.txt', 'notes.md'",
    )


def test_formats_that_are_not_read_are_warned_of(root: Path, paint: Paint) -> None:
    paint("a", 5)
    paint("b", 5)
    (root / "a" / "IMG_1.HEIC").write_bytes(b"x")
    (root / "b" / "2.avif").write_bytes(b"x")
    assert _warnings(load(str(root))) == (
        "2 files of formats that are not read (avif, heic) left out: 'a/IMG_1.HEIC', 'b/2.avif'; "
        "converted to JPEG or PNG they count",
    )


needs_links = pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege on Windows")


@needs_links
def test_links_are_followed_once(root: Path, paint: Paint, tmp_path: Path) -> None:
    paint("a", 5)
    paint("b", 5)
    (root / "b" / "deep").mkdir()
    (tmp_path / "elsewhere").mkdir()
    Image.new("L", (6, 4), 9).save(tmp_path / "elsewhere" / "x.png")
    (tmp_path / "elsewhere" / "round").symlink_to(tmp_path / "elsewhere")
    for link, goal in (
        ("a/loop", root),
        ("a/up", tmp_path),
        ("b/deep/far", tmp_path / "elsewhere"),
        ("b/again", tmp_path / "elsewhere"),
        ("latest", root / "a"),
    ):
        (root / link).symlink_to(goal)
    os.symlink("self", root / "a" / "self")
    data = load(str(root))
    assert data.class_counts == (5, 6)
    assert data.notes == (
        "images in sub-folders of a class belong to the class: 'b/again'",
        "1 sub-folder without images ignored: 'b/deep'",
        "1 file that is no labelled image ignored: 'a/self'",
        "5 links to folders that are read anyway not followed: 'a/loop', 'a/up', 'b/again/round', "
        "'b/deep/far', 'latest'",
    )


@needs_links
def test_links_to_images_and_to_class_folders(root: Path, paint: Paint, tmp_path: Path) -> None:
    paint("../store", 12)
    files = sorted((tmp_path / "store").iterdir())
    (root / "a").mkdir()
    for file in files[:6]:
        (root / "a" / file.name).symlink_to(file)
    (tmp_path / "other").mkdir()
    for file in files[6:]:
        file.rename(tmp_path / "other" / file.name)
    (root / "b").symlink_to(tmp_path / "other")
    assert load(str(root)).class_counts == (6, 6)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes")
def test_a_pipe_is_no_image(root: Path, paint: Paint) -> None:
    paint("a", 5)
    paint("b", 5)
    os.mkfifo(root / "a" / "pipe.png")
    assert load(str(root)).rows == 10


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        ([], "Got an empty folder. hint: put the images of each class into a sub-folder named after it."),
        (
            ["."],
            "Got 4 images in one folder and no table of labels beside them. hint: put the images of each",
        ),
        (
            ["a"],
            "must hold two sub-folders or more with images .* Got the sub-folder 'a' alone. hint: add another",
        ),
        (["x/y/a"], "Got the sub-folder 'x/y/a' alone"),
        (
            ["train/a", "test/a"],
            "train must hold two class folders or more. Got 'a' alone. hint: add another class",
        ),
        (["train"], "Got 4 images in 'train' alone and no table of labels beside them. hint: put the images"),
        (["train", "test"], "Got images in 'test', 'train' themselves. hint: put the images of each class"),
        (["val/a", "val/b", "test/a", "test/b"], "Got 'test', 'val' and no train folder."),
        (["train/a", "train/b", "val/a", "dev/a"], "must hold one folder for each part. Got 'dev' and 'val'"),
        (
            ["train/Cat", "train/Dog", "test/cat", "test/Dog"],
            "class folder of 'test' in .* must be in 'train' too. Got 'cat' in 'test' alone. hint: rename it to 'Cat'",
        ),
        (
            ["train/a", "train/b", "test/a", "test/zebra"],
            "Got 'zebra' in 'test' alone. hint: add it to 'train', or remove it.",
        ),
    ],
)
def test_layouts_that_are_refused(root: Path, paint: Paint, folders: list[str], message: str) -> None:
    for folder in folders:
        paint(folder, 4)
    with pytest.raises(DataError, match=message) as caught:
        load(str(root))
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("load: ")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            ["a/1.txt", "b/2.txt"],
            "Got no image in 'a', 'b' but 2 files, such as 'a/1.txt'. hint: put the images",
        ),
        (
            ["a/1", "b/2"],
            "'b' but 2 files, such as 'a/1'. hint: name the files by their format, such as .png.",
        ),
        (["1.txt"], "Got 1 file and no sub-folder."),
        (
            ["a/1.heic", "b/2.heic"],
            "Got 2 images of other formats, such as 'a/1.heic'. hint: convert them to JPEG",
        ),
    ],
)
def test_folders_without_images_are_refused(root: Path, files: list[str], message: str) -> None:
    for file in files:
        (root / file).parent.mkdir(exist_ok=True)
        (root / file).write_text("x")
    with pytest.raises(DataError, match=message):
        load(str(root))


def test_a_class_with_one_image(root: Path, paint: Paint) -> None:
    paint("a", 12)
    paint("lonely", 1)
    with pytest.raises(DataError, match="fewer in the class 'lonely'"):
        load(str(root))
    paint("b", 6)
    data = load(str(root))
    assert (data.classes, data.rows) == (("a", "b"), 18)
    assert any("'lonely'" in warning for warning in _warnings(data))
