from __future__ import annotations

import itertools
import re
import struct
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from normwise.data import load
from normwise.data.contents import ImageContents
from normwise.errors import DataError


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NORMWISE_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """Thirty images in each of the folders "a" and "b"."""
    for index in range(60):
        folder = tmp_path / "many" / "ab"[index // 30]
        folder.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(index).integers(0, 256, (4, 6, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.png")
    return tmp_path / "many"


def _picture(path: Path, side: int = 60) -> bytes:
    pixels = np.random.default_rng(99).integers(0, 256, (side, side, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path.read_bytes()


def _announcing(width: int, height: int) -> bytes:
    """A PNG whose header announces a size; a few bytes of a file can name any."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def _half(suffix: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        whole = _picture(path.with_suffix(f".{suffix}"))
        path.with_suffix(f".{suffix}").unlink()
        path.write_bytes(whole[: len(whole) // 2])

    return write


def _write(content: bytes) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(content) and None


def _not_a_number(path: Path) -> None:
    Image.fromarray(np.full((4, 6), np.nan, dtype=np.float32)).save(path, format="TIFF")


def _targa(path: Path) -> None:
    Image.new("RGB", (6, 4)).save(path, format="TGA")


def _to_nothing(path: Path) -> None:
    path.symlink_to("nowhere.png")


BAD = {
    "empty": (_write(b""), "an empty file"),
    "text": (_write(b"no image"), "no image in a known format"),
    "page": (_write(b"<!DOCTYPE html><html>404</html>"), "no image in a known format"),
    "signature": (_write(b"\x89PNG\r\n\x1a\n1234"), "no image in a known format"),
    "jpeg signature": (_write(b"\xff\xd8\xff\xe0\x00\x10JFIF"), ""),
    "program": (_write(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"), "no image in a known format"),
    "rare format": (_targa, "no image in a known format"),
    "zeros": (_write(bytes(5000)), "no image in a known format"),
    "half png": (_half("png"), "truncated"),
    "half jpg": (_half("jpg"), "truncated"),
    "half gif": (_half("gif"), "truncated"),
    "half tif": (_half("tif"), ""),
    "half webp": (_half("webp"), ""),
    "half bmp": (_half("bmp"), "truncated"),
    "not a number": (_not_a_number, "pixels that are no numbers"),
    "bomb": (_write(_announcing(8_001, 8_001)), r"more than 64 million pixels \(8001×8001\)"),
    "large bomb": (_write(_announcing(40_000, 40_000)), "more than 64 million pixels"),
    "link to nothing": (_to_nothing, "a link to nothing"),
}
if sys.platform == "win32":
    del BAD["link to nothing"]


@pytest.mark.parametrize("kind", BAD)
def test_a_broken_image_is_named_in_one_line(image_folder: Path, kind: str) -> None:
    write, why = BAD[kind]
    path = image_folder / "class 2" / "bad.png"
    write(path)
    with pytest.raises(DataError) as caught:
        load(str(image_folder))
    message = str(caught.value)
    assert message.startswith(f"load: {path} must be an image that can be read. Got ")
    assert message.endswith(". hint: repair or remove the file.")
    assert "\n" not in message
    assert re.search(why, message)


@pytest.mark.parametrize("kind", BAD)
def test_a_few_broken_images_are_left_out_and_named(many: Path, kind: str) -> None:
    BAD[kind][0](many / "a" / "07.png")
    data = load(str(many))
    assert (data.rows, data.class_counts) == (60, (30, 30))
    (warning,) = data.warnings
    assert warning.startswith("1 file that cannot be read left out: 'a/07.png' (")


def test_the_rest_stays_beside_its_labels(many: Path) -> None:
    """Files that break in the header and files that break in the pixels, between whole ones."""
    for index in (0, 31, 59):
        (many / "ab"[index // 30] / f"{index}.png").write_bytes(b"x")
    for index in (5, 30):
        path = many / "ab"[index // 30] / f"{index}.png"
        path.write_bytes(path.read_bytes()[:-30])
    data = load(str(many))
    whole = [index for index in range(60) if index not in (0, 31, 59, 5, 30)]
    assert data.class_counts == (28, 27)
    assert isinstance(data._contents, ImageContents)
    expected = [np.asarray(Image.open(many / "ab"[i // 30] / f"{i}.png")).transpose(2, 0, 1) for i in whole]
    np.testing.assert_array_equal(data._contents.pixels, np.stack(expected))
    np.testing.assert_array_equal(data._target.values, [index // 30 for index in whole])
    (warning,) = data.warnings
    assert warning.startswith(
        "5 files that cannot be read left out: 'a/0.png' (no image in a known format); 'a/5.png'"
    )


def test_a_handful_is_named_and_the_rest_counted(many: Path) -> None:
    for index in (1, 2, 3, 33, 34, 35):
        (many / "ab"[index // 30] / f"{index}.png").write_bytes(b"")
    (warning,) = load(str(many)).warnings
    assert warning.startswith("6 files that cannot be read left out: 'a/1.png' (an empty file); 'a/2.png'")
    assert warning.endswith("'b/34.png' (an empty file) and 1 more")


def test_many_broken_images_are_refused(many: Path) -> None:
    for index in itertools.chain(range(4), range(40, 44)):
        (many / "ab"[index // 30] / f"{index}.png").write_bytes(b"")
    with pytest.raises(
        DataError, match=r"at least nine of ten images of .*, and 10 of each class, must be"
    ) as caught:
        load(str(many))
    assert "Got 8 broken files of 60: 'a/0.png' (an empty file); 'a/1.png'" in str(caught.value)
    assert str(caught.value).endswith("'b/40.png' (an empty file) and 3 more. hint: repair or remove them.")


def test_a_class_must_keep_enough_images(many: Path) -> None:
    for index in range(30, 49):
        (many / "b" / f"{index}.png").unlink()
    (many / "b" / "49.png").write_bytes(b"")
    assert load(str(many)).class_counts == (30, 10)
    (many / "b" / "50.png").write_bytes(b"")
    with pytest.raises(DataError, match="Got 2 broken files of 41"):
        load(str(many))


def test_nothing_but_broken_images(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for index in range(6):
            (tmp_path / name / f"{index}.jpg").write_bytes(b"")
    with pytest.raises(DataError, match="Got 12 broken files of 12"):
        load(str(tmp_path))
