from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from normwise.data import image_decode, load
from normwise.data.contents import ImageContents
from normwise.data.dataset import Dataset
from normwise.data.wording import natural_key
from normwise.errors import ArgumentError, DataError


def _warnings(data: Dataset) -> tuple[str, ...]:
    """All but that the classes of a test are small."""
    return tuple(said for said in data.warnings if "too few to tell" not in said)


@pytest.fixture(autouse=True)
def place(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("NORMWISE_CACHE", str(place))
    return place


def _pixels(data: Dataset) -> np.ndarray:
    assert isinstance(data._contents, ImageContents)
    return data._contents.pixels


def _save(path: Path, *shape: int, dtype: type = np.uint8, **options: object) -> np.ndarray:
    # Seeded by the path: equal files would be noticed.
    pixels = np.random.default_rng(zlib.crc32(str(path).encode())).integers(
        0, np.iinfo(dtype).max + 1, shape, dtype=dtype
    )
    Image.fromarray(pixels).save(path, **options)
    return pixels


def test_folders_are_classes_in_natural_order(image_folder: Path) -> None:
    data = load(str(image_folder))
    assert (data.name, data.source, data.kind) == ("shots", str(image_folder), "image")
    assert data.classes == ("class 2", "class 10")
    assert (data.inputs, data.in_shape, data.rows, data.notes) == ("6×4 grey images", (1, 4, 6), 12, ())
    assert data.task_reason == "the 2 sub-folders are the classes"
    expected = np.asarray(Image.open(image_folder / "class 10" / "5.png"))
    np.testing.assert_array_equal(_pixels(data)[11, 0], expected)


def test_commonest_mode_and_size_win(image_folder: Path) -> None:
    _save(image_folder / "class 2" / "a.png", 4, 6, 3)
    _save(image_folder / "class 2" / "b.png", 9, 9)
    data = load(str(image_folder))
    assert data.inputs == "6×4 grey images"
    assert data.notes == (
        "1 image of other sizes than 6×4 resized",
        "1 image of other proportions padded with the colour of the edges, not distorted",
        "1 image converted to grey, as most are",
    )


def test_colour_images_keep_their_channels(image_folder: Path) -> None:
    for index in range(7):
        for code, name in enumerate(("class 2", "class 10")):
            Image.new("RGB", (6, 4), (index, 100 + code, 200)).save(image_folder / name / f"c{index}.png")
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


def test_images_that_all_differ_take_their_median_shape(tmp_path: Path) -> None:
    sizes = [(300, 20), (40, 30), (41, 30), (60, 45), (80, 61), (20, 15)]
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for index, (width, height) in enumerate(sizes):
            _save(tmp_path / name / f"{index}.png", height + (name == "b"), width, 3)
    data = load(str(tmp_path))
    assert data.in_shape == (3, 38, 50)
    assert data.notes[:2] == (
        "images of many sizes resized; 50×38 (width×height) is their median shape",
        "2 images of other proportions padded with the colour of the edges, not distorted",
    )


def test_padding_has_the_colour_of_the_edges(image_folder: Path) -> None:
    tall = np.full((8, 4), 200, dtype=np.uint8)
    tall[:, 1:3] = 10
    Image.fromarray(tall).save(image_folder / "class 2" / "9.png")
    seen = _pixels(load(str(image_folder)))[6, 0]
    assert (seen[:, [0, 1, 4, 5]] == seen[0, 0]).all()
    assert seen[0, 0] == seen[0, 2] > 90 > 0
    assert seen.shape == (4, 6)


_UPRIGHT = np.arange(24, dtype=np.uint8).reshape(4, 6) * 10
_STORED = {
    1: _UPRIGHT,
    2: _UPRIGHT[:, ::-1],
    3: _UPRIGHT[::-1, ::-1],
    4: _UPRIGHT[::-1],
    5: _UPRIGHT.T,
    6: np.rot90(_UPRIGHT),
    7: _UPRIGHT[::-1, ::-1].T,
    8: np.rot90(_UPRIGHT, -1),
}


@pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
@pytest.mark.parametrize("orientation", list(_STORED))
def test_orientation_is_honoured(image_folder: Path, orientation: int, suffix: str) -> None:
    tags = Image.Exif()
    tags[0x0112] = orientation
    options = {"lossless": True} if suffix == "webp" else {}
    path = image_folder / "class 2" / f"9.{suffix}"
    Image.fromarray(np.ascontiguousarray(_STORED[orientation])).save(path, exif=tags, **options)
    data = load(str(image_folder))
    turned = ("1 image turned upright as told by EXIF orientation",)
    note = tuple(note for note in data.notes if "converted" not in note)
    assert note == (() if orientation == 1 or suffix == "tif" else turned)
    np.testing.assert_allclose(_pixels(data)[6, 0], _UPRIGHT, atol=1 if suffix == "webp" else 0)


def test_broken_metadata_is_no_broken_picture(image_folder: Path) -> None:
    pixels = np.full((4, 6), 77, dtype=np.uint8)
    path = image_folder / "class 2" / "9.png"
    Image.fromarray(pixels).save(path, exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff")
    data = load(str(image_folder))
    assert _warnings(data) == ()
    np.testing.assert_array_equal(_pixels(data)[6, 0], pixels)


def test_deep_images_share_the_range_that_they_use(tmp_path: Path) -> None:
    values = {"a": np.linspace(100, 1100, 24), "b": np.linspace(100, 4100, 24)}
    for name, levels in values.items():
        (tmp_path / name).mkdir()
        for index in range(6):
            deep = (levels.reshape(4, 6) + index * (name == "a")).astype(np.uint16)
            deep[0, 0] += index
            Image.fromarray(deep).save(tmp_path / name / f"{index}.png")
    data = load(str(tmp_path))
    assert data.notes == (
        "12 images of more than 8 bits a pixel reduced to 8: 100 becomes black and 4,100 white in all of them",
    )
    seen = _pixels(data)
    # Twice the value is twice the brightness in every image, whatever its own range.
    np.testing.assert_allclose(seen[0, 0], (values["a"].reshape(4, 6) - 100) / 4000 * 255, atol=1)
    np.testing.assert_allclose(seen[6, 0], (values["b"].reshape(4, 6) - 100) / 4000 * 255, atol=1)


@pytest.mark.parametrize("extreme", [4_000, 60_000])
def test_an_extreme_pixel_that_takes_the_shades_of_the_others_is_warned_of(
    tmp_path: Path, extreme: int
) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for index in range(6):
            deep = (np.arange(24).reshape(4, 6) * 100 + index + 10 * (name == "a")).astype(np.uint16)
            deep[0, 0] = extreme if (name, index) == ("b", 5) else deep[0, 0]
            Image.fromarray(deep).save(tmp_path / name / f"{index}.png")
    assert [said[:68] for said in _warnings(load(str(tmp_path)))] == (
        ["11 images of more than 8 bits a pixel left with fewer than 16 of 256"] if extreme > 50_000 else []
    )


def test_strips_of_one_pixel_are_not_said_to_be_padded(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for index in range(6):
            _save(tmp_path / name / f"{index}.png", 3, 900)
    data = load(str(tmp_path))
    assert data.in_shape == (1, 1, 64)
    assert data.notes == ("images of 900×3 pixels resized to 64×1 (width×height)",)


@pytest.mark.parametrize(("most", "white"), [(65_000, 65535), (4000, 4095), (1023, 1023)])
def test_deep_images_beside_others_keep_their_bits(image_folder: Path, most: int, white: int) -> None:
    deep = np.random.default_rng(1).integers(0, most, (4, 6), dtype=np.uint16)
    deep[0, 0] = most
    Image.fromarray(deep).save(image_folder / "class 2" / "8.png")
    Image.fromarray((deep // 2).astype(np.int32)).save(image_folder / "class 2" / "9.tif")
    data = load(str(image_folder))
    np.testing.assert_array_equal(_pixels(data)[6, 0], np.rint(deep * (255 / white)))
    np.testing.assert_allclose(_pixels(data)[7, 0], deep / 2 * (255 / white), atol=0.6)
    assert data.notes == (
        f"2 images of more than 8 bits a pixel reduced to 8: 0 becomes black and {white:,} white in all of them",
    )


@pytest.mark.parametrize(("scale", "shift"), [(1.0, 0.0), (300.0, -100.0)])
def test_images_of_fractions(tmp_path: Path, scale: float, shift: float) -> None:
    random = np.random.default_rng(0)
    every = random.random((12, 4, 6)).astype(np.float32) * scale + shift
    for index, values in enumerate(every):
        (tmp_path / str(index % 2)).mkdir(exist_ok=True)
        Image.fromarray(values).save(tmp_path / str(index % 2) / f"{index}.tif")
    seen = _pixels(load(str(tmp_path)))[:, 0]
    expected = (every - every.min()) / (every.max() - every.min()) * 255
    np.testing.assert_allclose(seen, np.concatenate([expected[::2], expected[1::2]]), atol=0.51)


@pytest.mark.parametrize(
    ("name", "make", "expected"),
    [
        ("half.png", lambda: Image.new("RGBA", (6, 4), (200, 0, 0, 0)), (255, 255, 255)),
        ("half.png", lambda: Image.new("RGBA", (6, 4), (200, 0, 0, 51)), (244, 204, 204)),
        ("opaque.png", lambda: Image.new("RGBA", (6, 4), (200, 0, 0, 255)), (200, 0, 0)),
        ("grey.png", lambda: Image.new("LA", (6, 4), (200, 0)), (255, 255, 255)),
        ("black.png", lambda: Image.new("1", (6, 4), 0), (0, 0, 0)),
        ("white.png", lambda: Image.new("1", (6, 4), 1), (255, 255, 255)),
        ("ink.tif", lambda: Image.new("CMYK", (6, 4), (0, 255, 255, 0)), (255, 0, 0)),
        ("paper.tif", lambda: Image.new("LAB", (6, 4), (255, 128, 128)), (255, 255, 255)),
        ("palette.png", lambda: Image.new("RGB", (6, 4), (9, 80, 200)).quantize(4), (9, 80, 200)),
        ("one.gif", lambda: Image.new("RGB", (6, 4), (9, 80, 200)).quantize(4), (9, 80, 200)),
    ],
)
def test_modes(
    image_folder: Path, name: str, make: Callable[[], Image.Image], expected: tuple[int, ...]
) -> None:
    for index in range(7):
        for code, folder in enumerate(("class 2", "class 10")):
            Image.new("RGB", (6, 4), (index, 100 + code, 200)).save(image_folder / folder / f"c{index}.png")
    make().save(image_folder / "class 10" / name)
    data = load(str(image_folder))
    order = sorted((path.name for path in (image_folder / "class 10").iterdir()), key=natural_key)
    seen = _pixels(data)[13 + order.index(name), :, 2, 3]
    np.testing.assert_allclose(seen.astype(int), expected, atol=1)
    said = "1 image with transparency laid over white" in data.notes
    assert said == (name in ("half.png", "grey.png"))


def test_transparent_palettes(image_folder: Path) -> None:
    image = Image.new("P", (6, 4), 1)
    image.putpalette([0, 0, 0, 90, 90, 90])
    image.putpixel((0, 0), 0)
    for suffix in ("png", "gif"):
        image.save(image_folder / "class 2" / f"9.{suffix}", transparency=0)
    data = load(str(image_folder))
    for row in (6, 7):
        assert _pixels(data)[row, 0, 0, :2].tolist() == [255, 90]
    assert data.notes == ("2 images with transparency laid over white",)


@pytest.mark.parametrize("suffix", ["gif", "webp", "png", "tif"])
def test_of_an_animation_the_first_picture_counts(image_folder: Path, suffix: str) -> None:
    first, second = (Image.new("L", (6, 4), level) for level in (30, 220))
    path = image_folder / "class 2" / f"9.{suffix}"
    first.save(path, save_all=True, append_images=[second])
    data = load(str(image_folder))
    assert abs(int(_pixels(data)[6, 0, 2, 2]) - 30) <= 1
    assert "of 1 file with several pictures (animations, pages) the first one taken" in data.notes


def test_photographs_by_jpeg(tmp_path: Path) -> None:
    for name, level in (("a", 50), ("b", 200)):
        (tmp_path / name).mkdir()
        for index in range(5):
            Image.new("RGB", (700, 400), (level, 10, index)).save(tmp_path / name / f"{index}.JPG")
    data = load(str(tmp_path))
    assert data.in_shape == (3, 37, 64)
    np.testing.assert_allclose(_pixels(data)[:, 0].mean(axis=(1, 2)), [50] * 5 + [200] * 5, atol=3)


def test_memory_is_bounded(image_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_decode, "MOST_BYTES", 12 * 24 - 1)
    with pytest.raises(DataError, match="must fit into 4 GiB"):
        load(str(image_folder))


@pytest.mark.parametrize("size", [0, -3, 1025])
def test_bad_image_size(image_folder: Path, size: int) -> None:
    with pytest.raises(ArgumentError, match="`image_size` must be 1 to 1024"):
        load(str(image_folder), image_size=size)


def test_labels_are_no_quantity(image_folder: Path) -> None:
    with pytest.raises(DataError, match="this target is a label"):
        load(str(image_folder), task="regression")
