from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from normwise.data import cache, image_decode
from normwise.data.dataset import Dataset
from normwise.data.images import load_images


@pytest.fixture(autouse=True)
def place(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path_factory.mktemp("cache") / "kept"
    monkeypatch.setenv("NORMWISE_CACHE", str(place))
    return place


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Images with much to say of: sizes, modes, equal files, a broken one."""
    for index in range(30):
        where = tmp_path / "shots" / "ab"[index % 2]
        where.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(index // 4 * 4).integers(
            0, 256, (8, 6 + 6 * (index == 7), 4), dtype=np.uint8
        )
        pixels[0, 0, 0] = index if index > 3 else 0
        Image.fromarray(pixels).save(where / f"{index}.png")
    (tmp_path / "shots" / "b" / "bad.png").write_bytes(b"")
    return tmp_path / "shots"


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files whose pixels were read."""
    read: list[Path] = []
    original = image_decode.read_pixels

    def counted(path: Path, frame: object) -> object:
        read.append(path)
        return original(path, frame)

    monkeypatch.setattr(image_decode, "read_pixels", counted)
    return read


def _same(one: Dataset, other: Dataset) -> bool:
    split, again = one.split(3), other.split(3)
    return one == other and all(
        bool((getattr(split, part).inputs == getattr(again, part).inputs).all())
        for part in ("train", "validation", "test")
    )


def test_a_second_load_decodes_nothing_and_is_the_same(
    folder: Path, place: Path, decoded: list[Path]
) -> None:
    first = load_images(folder, task=None)
    assert len(decoded) == 30
    second = load_images(folder, task=None)
    assert len(decoded) == 30
    assert len(list(place.iterdir())) == 1
    assert len(first.notes) > 3
    assert len(first.warnings) == 2
    assert _same(first, second)


def test_without_a_cache_the_data_is_the_same(
    folder: Path, monkeypatch: pytest.MonkeyPatch, decoded: list[Path]
) -> None:
    first = load_images(folder, task=None)
    monkeypatch.setenv("NORMWISE_CACHE", os.devnull)
    assert _same(first, load_images(folder, task=None))
    assert len(decoded) == 60


def test_a_damaged_entry_is_decoded_again(folder: Path, place: Path, decoded: list[Path]) -> None:
    first = load_images(folder, task=None)
    (entry,) = place.iterdir()
    entry.write_bytes(entry.read_bytes()[:-1] + b"?")
    assert _same(first, load_images(folder, task=None))
    assert len(decoded) == 60
    load_images(folder, task=None)
    assert len(decoded) == 60


def test_what_changes_is_decoded_again(folder: Path, decoded: list[Path]) -> None:
    first = load_images(folder, task=None)
    load_images(folder, task=None, image_size=5)
    assert len(decoded) == 60
    path = folder / "a" / "28.png"
    before = path.stat()
    # Another picture in as many bytes and with the old time, as an archive that is unpacked again would give it.
    data = bytearray(path.read_bytes())
    Image.new("L", (3, 3), 200).save(path, format="PPM")
    path.write_bytes(path.read_bytes() + bytes(len(data) - path.stat().st_size))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert load_images(folder, task=None).fingerprint != first.fingerprint
    (folder / "a" / "28.png").rename(folder / "a" / "29.png")
    load_images(folder, task=None)
    assert len(decoded) == 120


def test_the_cache_is_bounded(folder: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load_images(folder, task=None, image_size=5)
    (entry,) = place.iterdir()
    monkeypatch.setattr(cache, "MOST_BYTES", 2 * entry.stat().st_size)
    for size in range(2, 6):
        load_images(folder, task=None, image_size=size)
    assert 1 <= len(list(place.iterdir())) <= 3
    assert sum(path.stat().st_size for path in place.iterdir()) <= cache.MOST_BYTES


def test_progress_is_told_where_there_is_any(folder: Path) -> None:
    told: list[tuple[int, int]] = []
    load_images(folder, task=None, progress=lambda done, total: told.append((done, total)))
    assert told == [(done, 30) for done in range(1, 31)]
    load_images(folder, task=None, progress=lambda done, total: told.append((done, total)))
    assert len(told) == 30


def test_an_interrupt_ends_the_decoding(folder: Path, place: Path) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load_images(folder, task=None, progress=stop)
    assert not place.exists()
