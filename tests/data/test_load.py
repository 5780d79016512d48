from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from normwise.data import load
from normwise.errors import ArgumentError, DataError, UnknownNameError


def test_unknown_names() -> None:
    with pytest.raises(UnknownNameError, match=r"Did you mean 'digits' or .*Known: breast_cancer, .* path"):
        load("digts")


def test_a_path_that_does_not_exist_names_its_neighbours(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("a\n")
    with pytest.raises(DataError, match=f"did you mean '{tmp_path / 'train.csv'}'"):
        load(str(tmp_path / "trian.csv"), target="a")
    with pytest.raises(DataError, match="Got no folder"):
        load(str(tmp_path / "nowhere" / "train.csv"))
    with pytest.raises(DataError, match=r"absent.csv must exist. Got nothing there"):
        load("absent.csv")


def test_unsupported_suffixes_list_the_supported(tmp_path: Path) -> None:
    (tmp_path / "a.xlsx").write_text("x")
    with pytest.raises(DataError, match=r"\.parquet, \.npz. Got 'a.xlsx'. hint: export the sheet as CSV"):
        load(str(tmp_path / "a.xlsx"))


@pytest.mark.parametrize("name", ["a.csv", "a.parquet", "a.npz"])
def test_empty_files(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    with pytest.raises(DataError, match=f"{name} must hold data. Got an empty file"):
        load(str(tmp_path / name), target="y")


def test_a_pipe_is_refused_unread(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.csv")
    with pytest.raises(DataError, match="must be a file or a folder"):
        load(str(tmp_path / "a.csv"), target="a")


def test_image_size_is_for_folders(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a,b\n")
    for source in (str(tmp_path / "a.csv"), "digits"):
        with pytest.raises(ArgumentError, match="image_size=32"):
            load(source, image_size=32)


def test_home_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a.csv").write_text("k,n\n" + "".join(f"{'ab'[i % 2]},{i}\n" for i in range(12)))
    assert load("~/a.csv", target="k").rows == 12


def test_importing_brings_no_optional_package() -> None:
    code = (
        "import sys, normwise.data; "
        "print([m for m in ('sklearn', 'polars', 'PIL', 'scipy', 'mlxtend', 'pandas') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
