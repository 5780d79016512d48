from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from normwise.data import images as images_module, load
from normwise.data.contents import ImageContents
from normwise.data.dataset import Dataset
from normwise.errors import ArgumentError, DataError


def _pixels(data: Dataset) -> np.ndarray:
    assert isinstance(data._contents, ImageContents)
    return data._contents.pixels


def _save(path: Path, *shape: int, dtype: type = np.uint8, **options: object) -> np.ndarray:
    pixels = np.random.default_rng(0).integers(0, np.iinfo(dtype).max + 1, shape, dtype=dtype)
    Image.fromarray(pixels).save(path, **options)
    return pixels


def _bomb(width: int, height: int) -> bytes:
    """A PNG whose header announces a size; a few bytes of a file can name any."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def test_folders_are_classes_in_natural_order(image_folder: Path) -> None:
    data = load(str(image_folder))
    assert (data.name, data.source, data.kind) == ("shots", str(image_folder), "image")
    assert data.classes == ("class 2", "class 10")
    assert (data.inputs, data.in_shape, data.rows, data.notes) == ("4×6 grey images", (1, 4, 6), 12, ())
    assert data.task_reason == "the 2 sub-folders are the classes"
    expected = np.asarray(Image.open(image_folder / "class 10" / "5.png"))
    np.testing.assert_array_equal(_pixels(data)[11, 0], expected)


def test_commonest_mode_and_size_win(image_folder: Path) -> None:
    _save(image_folder / "class 2" / "a.png", 4, 6, 3)
    _save(image_folder / "class 2" / "b.png", 9, 9)
    data = load(str(image_folder))
    assert data.inputs == "4×6 grey images"
    assert data.notes == (
        "1 image of other sizes than 6×4 resized",
        "1 image converted to grey, as most are",
    )


def test_colour_images_keep_their_channels(image_folder: Path) -> None:
    for index in range(7):
        for name in ("class 2", "class 10"):
            Image.new("RGB", (6, 4), (index, 100, 200)).save(image_folder / name / f"c{index}.png")
    data = load(str(image_folder))
    assert data.in_shape == (3, 4, 6)
    assert data.notes == ("12 images converted to colour, as most are",)
    assert _pixels(data)[6 + 3, :, 0, 0].tolist() == [3, 100, 200]


@pytest.mark.parametrize(("asked", "expected"), [(None, (1, 32, 64)), (128, (1, 64, 128)), (10, (1, 5, 10))])
def test_large_images_are_reduced(tmp_path: Path, asked: int | None, expected: tuple[int, ...]) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for index in range(6):
            _save(tmp_path / name / f"{index}.png", 64, 128)
    data = load(str(tmp_path), image_size=asked)
    assert data.in_shape == expected
    reduced = (f"images of 128×64 pixels resized to {expected[2]}×{expected[1]} (width×height)",)
    assert data.notes == (() if asked == 128 else reduced)


def test_orientation_is_honoured(image_folder: Path) -> None:
    tags = Image.Exif()
    tags[0x0112] = 6  # shown after a quarter turn clockwise
    stored = np.zeros((6, 4), dtype=np.uint8)
    stored[0, 0] = 255
    Image.fromarray(stored).save(image_folder / "class 2" / "9.png", exif=tags)
    data = load(str(image_folder))
    assert data.notes == ()
    seen = _pixels(data)[6, 0]
    assert seen[0, 5] == 255
    assert seen.sum() == 255


def test_sixteen_bit_grey_is_scaled_not_clipped(image_folder: Path) -> None:
    deep = _save(image_folder / "class 2" / "8.png", 4, 6, dtype=np.uint16)
    Image.fromarray(np.full((4, 6), 250, dtype=np.uint16)).save(image_folder / "class 2" / "9.png")
    data = load(str(image_folder))
    np.testing.assert_array_equal(_pixels(data)[6, 0], deep // 257)
    assert _pixels(data)[7].max() == 0
    assert data.notes == ("2 images of more than 8 bits a pixel reduced to 8",)


def test_levels_beyond_sixteen_bits_are_refused(image_folder: Path) -> None:
    path = image_folder / "class 2" / "9.tif"
    Image.fromarray(np.full((4, 6), -0.5, dtype=np.float32)).save(path)
    with pytest.raises(DataError, match=f"{path} must be grey levels of 8 or 16 bits. Got values from -0.5"):
        load(str(image_folder))


def test_photographs_by_jpeg(tmp_path: Path) -> None:
    for name, level in (("a", 50), ("b", 200)):
        (tmp_path / name).mkdir()
        for index in range(5):
            Image.new("RGB", (700, 400), (level, 10, index)).save(tmp_path / name / f"{index}.JPG")
    data = load(str(tmp_path))
    assert data.in_shape == (3, 37, 64)
    np.testing.assert_allclose(_pixels(data)[:, 0].mean(axis=(1, 2)), [50] * 5 + [200] * 5, atol=3)


def test_what_is_no_image_is_said(image_folder: Path) -> None:
    (image_folder / "class 2" / "labels.txt").write_text("x")
    (image_folder / "notes.md").write_text("x")
    (image_folder / ".DS_Store").write_text("x")
    (image_folder / "class 2" / ".DS_Store").write_text("x")
    (image_folder / "drafts").mkdir()
    assert load(str(image_folder)).notes == (
        "1 sub-folder without images ignored: 'drafts'",
        "2 files that are no images of a class ignored: 'class 2/labels.txt', 'notes.md'",
    )


@pytest.mark.parametrize(
    "content",
    [b"", b"no image", b"\x89PNG\r\n\x1a\n1234", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"],
)
def test_a_broken_image_is_named(image_folder: Path, content: bytes) -> None:
    path = image_folder / "class 2" / "bad.png"
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"load: {path} must be an image that can be read"):
        load(str(image_folder))


def test_rare_formats_are_not_decoded_under_another_name(image_folder: Path) -> None:
    path = image_folder / "class 2" / "9.png"
    _save(path, 4, 6, format="TGA")
    with Image.open(path) as image:
        assert image.format == "TGA"
    with pytest.raises(DataError, match=f"load: {path} must be an image that can be read"):
        load(str(image_folder))


@pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "tif", "webp", "bmp"])
def test_a_truncated_image_is_named(image_folder: Path, suffix: str) -> None:
    path = image_folder / "class 2" / f"bad.{suffix}"
    _save(path, 40, 60, 3)
    path.write_bytes(path.read_bytes()[: -len(path.read_bytes()) // 2])
    with pytest.raises(DataError, match=f"load: {path} must be an image that can be read"):
        load(str(image_folder))


@pytest.mark.parametrize("side", [8_001, 10_000, 40_000])
def test_oversized_images_are_refused_by_their_header(image_folder: Path, side: int) -> None:
    path = image_folder / "class 10" / "bomb.png"
    path.write_bytes(_bomb(side, side))
    with pytest.raises(DataError, match=f"the image {path} must have at most 64 million pixels"):
        load(str(image_folder))


def test_memory_is_bounded(image_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images_module, "MOST_BYTES", 12 * 24 - 1)
    with pytest.raises(DataError, match="must fit into 4 GiB"):
        load(str(image_folder))


def test_folders_without_classes(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"Got an empty folder. hint: put the images of each class"):
        load(str(tmp_path))
    _save(tmp_path / "1.png", 4, 4)
    with pytest.raises(DataError, match="Got 1 file and no sub-folder"):
        load(str(tmp_path))
    (tmp_path / "a").mkdir()
    with pytest.raises(DataError, match="Got no image in 'a'"):
        load(str(tmp_path))
    _save(tmp_path / "a" / "1.png", 4, 4)
    with pytest.raises(DataError, match="Got the sub-folder 'a' alone"):
        load(str(tmp_path))


def test_classes_one_level_deeper(tmp_path: Path, image_folder: Path) -> None:
    with pytest.raises(DataError, match=f"hint: give the path {image_folder}"):
        load(str(tmp_path))


def test_a_class_with_one_image(image_folder: Path) -> None:
    (image_folder / "lonely").mkdir()
    _save(image_folder / "lonely" / "1.png", 4, 6)
    with pytest.raises(DataError, match="fewer in the class 'lonely'"):
        load(str(image_folder))


@pytest.mark.parametrize("size", [0, -3, 1025])
def test_bad_image_size(image_folder: Path, size: int) -> None:
    with pytest.raises(ArgumentError, match="`image_size` must be 1 to 1024"):
        load(str(image_folder), image_size=size)


def test_labels_are_no_quantity(image_folder: Path) -> None:
    with pytest.raises(DataError, match="this target is a label"):
        load(str(image_folder), task="regression")
