from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Cli = Callable[..., Any]
RUN = (
    *(
        "compare",
        "wine",
        "--width",
        "8,8,8",
        "--steps",
        "3",
        "--seeds",
        "2",
        "--scan-seeds",
        "1",
        "--lr",
        "0.1",
    ),
    *("--norm", "none,batch", "--out", "run"),
)


def test_a_finished_run_is_reported_again(cli: Cli, tmp_path: Path) -> None:
    assert cli(*RUN).code == 0
    page = tmp_path / "run" / "report.html"
    written = page.read_bytes()
    page.unlink()
    answer = cli("report", "run")
    assert answer.code == 0, answer.err
    assert answer.out == ""
    assert page.read_bytes() == written
    assert cli("report", "run", "--out", "elsewhere/answer.json").code == 0
    assert (tmp_path / "elsewhere" / "answer.json").read_bytes() == (
        tmp_path / "run" / "report.json"
    ).read_bytes()


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "which holds no run.json"),
        ({"run.json": "{}"}, "run.json must be one of normwise"),
        ({"run.json": "{}", "comparison.json": "{}"}, "Comparison"),
        ({"run.json": "{}", "comparison.json": "no json"}, "Comparison"),
    ],
)
def test_what_is_no_finished_run_is_refused(
    cli: Cli, tmp_path: Path, files: dict[str, str], words: str
) -> None:
    (tmp_path / "run").mkdir()
    for name, text in files.items():
        (tmp_path / "run" / name).write_text(text)
    answer = cli("report", "run")
    assert answer.code == 2
    assert words in answer.err
    assert len(answer.err.splitlines()) == 1
    assert {path.name for path in (tmp_path / "run").iterdir()} == set(files)
    assert "which is not there" in cli("report", "nowhere").err
