import json
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
        ({"run.json": "{}", "comparison.json": "no json"}, "run.json must be one of normwise"),
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


@pytest.mark.parametrize("broken", [None, "no json", "{}"])
def test_a_run_that_left_no_answer_is_answered_from_its_records(
    cli: Cli, tmp_path: Path, broken: str | None
) -> None:
    assert cli(*RUN).code == 0
    whole = json.loads((tmp_path / "run" / "report.json").read_text())["answers"]
    path = tmp_path / "run" / "comparison.json"
    path.unlink()
    if broken is not None:
        path.write_text(broken)
    assert cli("report", "run", "--format", "json").code == 0
    again = json.loads((tmp_path / "run" / "report.json").read_text())["answers"]
    assert again == whole
    assert cli("report", "run", "--format", "md", "--out", "-").out.startswith("# normwise compare: wine")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--format", "pdf"), "unknown format 'pdf'"),
        (("--format", "md", "--out", "x.html"), "`--out` must end as `--format` says"),
        (("--out", "x.docx"), "must end in"),
    ],
)
def test_forms_that_there_are_not_are_refused(cli: Cli, arguments: tuple[str, ...], words: str) -> None:
    assert cli(*RUN).code == 0
    answer = cli("report", "run", *arguments)
    assert (answer.code, answer.out) == (2, "")
    assert words in answer.message
