from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from normwise._cache import cache_folder
from normwise.data import cache


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NORMWISE_CACHE", str(tmp_path / "kept"))
    return tmp_path / "kept"


def _array(size: int = 24) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (size, 2, 3), dtype=np.uint8)


def _only(place: Path) -> Path:
    (path,) = place.iterdir()
    return path


def test_what_is_kept_comes_back(place: Path) -> None:
    cache.keep("k", {"notes": ["ein Hinweis", "注"], "n": 3}, _array())
    found = cache.fetch("k")
    assert found is not None
    header, array = found
    assert header == {"notes": ["ein Hinweis", "注"], "n": 3}
    assert array.dtype == np.uint8
    np.testing.assert_array_equal(array, _array())
    assert cache.fetch("other") is None
    assert _only(place).name == "k.normwise"


def test_keys_differ_where_anything_differs() -> None:
    keys = {
        cache.key_of(*parts)
        for parts in ((), ("a",), ("a", 1), ("a", "1"), ("a1",), (("a", 1),), ("\udcff",))
    }
    assert len(keys) == 7


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "text", "header", "word", "longer"])
def test_a_damaged_entry_is_no_entry(place: Path, damage: str) -> None:
    cache.keep("k", {"a": 1}, _array())
    path = _only(place)
    data = bytearray(path.read_bytes())
    if damage == "flip":
        data[-5] ^= 1
    elif damage == "cut":
        del data[-9:]
    elif damage == "empty":
        data.clear()
    elif damage == "text":
        data[:] = b"no entry at all"
    elif damage == "word":
        place = data.index(b'a\\": 1')
        data[place] += 1
    elif damage == "header":
        data[130:140] = b"\0" * 10
    else:
        data += b"more"
    path.write_bytes(data)
    found = cache.fetch("k")
    if damage == "longer":
        np.testing.assert_array_equal(found[1], _array())
    else:
        assert found is None
    cache.keep("k", {"a": 2}, _array())
    assert cache.fetch("k")[0] == {"a": 2}


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("x")
    for place in (tmp_path / "file", tmp_path / "file" / "below", Path(os.devnull)):
        monkeypatch.setenv("NORMWISE_CACHE", str(place))
        cache.keep("k", {}, _array())
        assert cache.fetch("k") is None


def test_a_nearly_full_disk_is_left_alone(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(place.parent)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=cache.LEAST_FREE + 10))
    cache.keep("k", {}, _array())
    assert list(place.iterdir()) == []


def test_a_write_that_fails_leaves_nothing(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "replace", full)
    cache.keep("k", {}, _array())
    assert list(place.iterdir()) == []


def test_the_entry_unused_for_longest_goes_first(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.keep("a", {}, _array())
    size = _only(place).stat().st_size
    monkeypatch.setattr(cache, "MOST_BYTES", 2 * size)
    cache.keep("b", {}, _array())
    for age, key in ((2000, "a"), (1000, "b")):
        path = place / f"{key}.normwise"
        os.utime(path, (path.stat().st_mtime - age,) * 2)
    assert cache.fetch("a") is not None  # used now: b is the older one
    (place / "notes.txt").write_text("of somebody else")
    cache.keep("c", {}, _array())
    assert sorted(path.name for path in place.iterdir()) == ["a.normwise", "c.normwise", "notes.txt"]


def test_what_is_larger_than_the_bound_is_not_kept(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "MOST_BYTES", 100)
    cache.keep("k", {}, _array())
    assert not place.exists()


def test_what_a_killed_process_left_is_removed(place: Path) -> None:
    place.mkdir()
    for name, age in (("old.normwise-part", 90_000), ("new.normwise-part", 10), ("mine.part", 90_000)):
        (place / name).write_text("x")
        now = (place / name).stat().st_mtime
        os.utime(place / name, (now - age, now - age))
    cache.keep("k", {}, _array())
    assert sorted(path.name for path in place.iterdir()) == ["k.normwise", "mine.part", "new.normwise-part"]


@pytest.mark.skipif(sys.platform == "win32", reason="XDG and owners are not of Windows")
def test_the_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NORMWISE_CACHE", "~/kept")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "kept"
    cache.keep("k", {}, _array())
    assert (tmp_path / "kept").stat().st_mode & 0o077 == 0
    monkeypatch.setenv("NORMWISE_CACHE", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "normwise"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache_folder() == tmp_path / ".cache" / "normwise"


def test_the_place_on_windows(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("NORMWISE_CACHE")
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path))
    assert cache_folder() == tmp_path / "normwise" / "cache"
    monkeypatch.delenv("LOCALAPPDATA")
    assert cache_folder() is None
    cache.keep("k", {}, _array())
    assert cache.fetch("k") is None
