from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from normwise.data import npz as npz_module
from normwise.data.npz import read_npz
from normwise.errors import DataError


def _npy(
    array: np.ndarray, *, claim: tuple[int, ...] | None = None, version: tuple[int, int] = (1, 0)
) -> bytes:
    file = io.BytesIO()
    shape = claim or array.shape
    header = {"descr": array.dtype.str, "fortran_order": False, "shape": shape}
    write = (
        np.lib.format.write_array_header_1_0 if version == (1, 0) else np.lib.format.write_array_header_2_0
    )
    write(file, header)
    return file.getvalue() + array.tobytes()


def _zip(path: Path, **entries: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in entries.items():
            archive.writestr(name.replace("_npy", ".npy"), data)
    return path


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_round_trip(tmp_path: Path, save: object) -> None:
    arrays = {"x": np.arange(6.0).reshape(2, 3).T, "y": np.array(["a", "b", "ü"]), "n": np.array(3)}
    save(tmp_path / "a.npz", **arrays)  # type: ignore[operator]
    read = read_npz(tmp_path / "a.npz")
    assert read.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(read[name], array)


def test_second_format_version(tmp_path: Path) -> None:
    path = _zip(tmp_path / "a.npz", x_npy=_npy(np.arange(3), version=(2, 0)))
    assert read_npz(path)["x"].tolist() == [0, 1, 2]


class _Trap:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (_spring, ("pickle was loaded",))


def _spring(message: str) -> None:
    raise RuntimeError(message)


def test_objects_are_refused_unopened(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.array([_Trap()], dtype=object), y=np.arange(1))
    with pytest.raises(DataError, match=r"nothing is unpickled from a file. Got Python objects in 'x'"):
        read_npz(tmp_path / "a.npz")


def test_objects_inside_a_record_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.array([(1, _Trap())], dtype=[("a", int), ("b", object)]))
    with pytest.raises(DataError, match="Got Python objects in 'x'"):
        read_npz(tmp_path / "a.npz")


def test_a_header_that_announces_more_than_the_file_holds(tmp_path: Path) -> None:
    path = _zip(tmp_path / "a.npz", x_npy=_npy(np.arange(3.0), claim=(10**12,)))
    with pytest.raises(DataError, match=r"must be complete. Got a header of 8,000,000,000,000 bytes"):
        read_npz(path)


def test_size_is_bounded_before_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez_compressed(tmp_path / "a.npz", x=np.zeros(10_000))
    monkeypatch.setattr(npz_module, "LARGEST_BYTES", 80_000)
    with pytest.raises(DataError, match="must unpack to at most 4 GiB"):
        read_npz(tmp_path / "a.npz")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"no zip at all", "must be an .npz file as numpy.savez writes it"),
        (b"PK\x03\x04 broken", "must be an .npz file"),
    ],
)
def test_other_files(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(data)
    with pytest.raises(DataError, match=message):
        read_npz(path)


def test_zip_files_of_other_things(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"arrays alone. Got 'notes.txt'"):
        read_npz(_zip(tmp_path / "a.npz", **{"notes.txt": b"hello"}))
    with pytest.raises(DataError, match=r"must be an .npz file"):
        read_npz(_zip(tmp_path / "b.npz", x_npy=b"no array"))
    with pytest.raises(DataError, match=r"must hold arrays. Got an empty file"):
        read_npz(_zip(tmp_path / "c.npz"))


def test_damaged_values(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez_compressed(path, x=np.random.default_rng(0).normal(size=1000))
    data = bytearray(path.read_bytes())
    data[2000] ^= 0xFF
    path.write_bytes(bytes(data))
    with pytest.raises(DataError, match=r"must be an .npz file"):
        read_npz(path)
