from __future__ import annotations

import json
from pathlib import Path

import pytest

import normwise.report as package
from normwise.errors import ArgumentError
from normwise.report import report, write
from normwise.results import Comparison


def test_the_suffix_selects_the_form(tmp_path: Path, comparison: Comparison) -> None:
    page = report(comparison, tmp_path / "new" / "report.html")
    assert page.read_text(encoding="utf-8").lstrip().startswith("<!doctype html>")
    text = report(comparison, str(tmp_path / "report.json")).read_text(encoding="utf-8")
    assert json.loads(text)["comparison"]["question"] == comparison.question
    assert (
        report(comparison, tmp_path / "report.md")
        .read_text(encoding="utf-8")
        .startswith("# normwise compare")
    )
    assert report(comparison, tmp_path / "report.PNG").read_bytes().startswith(b"\x89PNG")
    names = ["report.PNG", "report.html", "report.json", "report.md"]
    assert sorted(path.name for path in tmp_path.rglob("*.*")) == names


def test_every_named_form_can_be_written() -> None:
    assert package.FORMATS == ("html", "md", "png", "json")
    assert set(package.FORMATS) <= set(write._WRITERS)


def test_the_package_can_be_called(tmp_path: Path, comparison: Comparison) -> None:
    assert package(comparison, tmp_path / "report.json").exists()  # type: ignore[operator]


@pytest.mark.parametrize("name", ["report.pdf", "report"])
def test_another_suffix_is_refused(name: str, tmp_path: Path, comparison: Comparison) -> None:
    with pytest.raises(ArgumentError, match=r"must end in \.html, \.md, \.png or \.json"):
        report(comparison, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_refused(tmp_path: Path, comparison: Comparison) -> None:
    with pytest.raises(ArgumentError, match="must be a file"):
        report(comparison, tmp_path)


def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, comparison: Comparison, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "report.json"
    target.write_text("old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(write.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        report(comparison, target)
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]
