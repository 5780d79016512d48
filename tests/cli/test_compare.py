from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import normwise.cli.answer
import normwise.cli.page
import normwise.compare.trial
from normwise.results import Comparison, loads

Cli = Callable[..., Any]
TINY = ("--width", "8,8,8", "--steps", "4", "--seeds", "2", "--scan-seeds", "1")
WINE = ("compare", "wine", *TINY, "--lr", "0.1", "--norm", "none,batch")


@pytest.fixture
def quiet(tmp_path: Path) -> str:
    """A question file that leaves the probe out, which looks at no data."""
    (tmp_path / "quiet.toml").write_text("probe = false\nreferences = false\n")
    return "quiet.toml"


def test_the_answer_goes_to_stdout_and_everything_else_to_stderr(
    cli: Cli, quiet: str, tmp_path: Path
) -> None:
    answer = cli(*WINE, "--spec", quiet, "--out", "run")
    assert answer.code == 0, answer.err
    assert "batch" in answer.out
    assert "Batch Normalization" in answer.out or "wine" in answer.out
    assert "Report:" not in answer.out
    assert "Report: run/report.html" in answer.err
    assert "fresh seeds" in answer.err
    names = {path.name for path in (tmp_path / "run").iterdir()} - {".lock"}
    assert names == {"run.json", "records.jsonl", "comparison.json", "report.html", "report.json"}
    comparison = loads((tmp_path / "run" / "comparison.json").read_bytes(), Comparison)
    assert comparison.reproduction.command == f"normwise {' '.join(WINE)} --spec quiet.toml --out run"


def test_json_stands_alone_on_stdout(cli: Cli, quiet: str, tmp_path: Path) -> None:
    answer = cli(*WINE, "--spec", quiet, "--out", "run", "--json")
    assert answer.code == 0, answer.err
    content = json.loads(answer.out)
    assert content == json.loads((tmp_path / "run" / "report.json").read_text())

    def refuse_constants(name: str) -> None:
        raise AssertionError(name)  # NaN and Infinity are not JSON

    json.loads(answer.out, parse_constant=refuse_constants)


def test_the_spec_of_a_run_asks_the_same_question_again(
    cli: Cli, quiet: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cli(*WINE, "--spec", quiet, "--out", "run").code == 0
    before = (tmp_path / "run" / "records.jsonl").read_bytes()
    again = cli("compare", "--spec", "run/run.json", "--out", "run")
    assert again.code == 0, again.err
    assert (tmp_path / "run" / "records.jsonl").read_bytes() == before
    other = cli("compare", "--spec", "run/run.json", "--out", "run", "--steps", "5")
    assert other.code == 2
    assert "differs in steps" in other.message


def test_options_on_the_command_line_win_over_the_file(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(normwise.cli.answer, "answer", lambda found, **_: asked.append(found.question))
    (tmp_path / "q.toml").write_text(
        'data = "diabetes"\nseeds = 7\nlrs = [0.5]\n[[variants]]\nnorm = "batch"\ndropout = 0.1\n'
    )
    assert cli("compare", "--spec", "q.toml", "--seeds", "3").code == 0
    assert (asked[-1].data, asked[-1].seeds, asked[-1].lrs) == ("diabetes", 3, (0.5,))
    assert [variant.name for variant in asked[-1].variants] == ["batch + dropout 0.1"]
    assert cli("compare", "wine", "--spec", "q.toml", "--norm", "layer").code == 0
    assert asked[-1].data == "wine"
    assert [variant.name for variant in asked[-1].variants] == ["layer"]


def test_options_multiply_into_variants(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(normwise.cli.answer, "answer", lambda found, **_: asked.append(found.question))
    code = cli(
        *(
            "compare",
            "--norm",
            "none,batch",
            "--position",
            "before,after",
            "--dropout",
            "0,0.2",
            "--norm",
            "group:4",
        ),
        *(
            "--augment",
            "none,shift+rotate:5",
            "--l1",
            "0.001",
            "--init",
            "he,xavier:0.5",
            "--optimizer",
            "adam",
        ),
        *("--depth", "2,4", "--batch-size", "16", "--lr", "0.1,0.01"),
    ).code
    assert code == 0
    (question,) = asked
    names = [variant.name for variant in question.variants]
    assert len(names) == (1 + 2 + 2) * 2 * 2
    assert "batch after + dropout 0.2 + L1 0.001 + shift, rotate:5" in names
    assert [init.name for init in question.initializations] == ["he ×1", "xavier ×0.5"]
    assert (question.depths, question.batch_sizes, question.lrs) == ((2, 4), (16,), (0.01, 0.1))
    assert question.optimizers == ("adam",)
    assert question.networks == ()


def test_a_trial_that_diverges_is_data(cli: Cli, quiet: str) -> None:
    answer = cli(
        *(
            "compare",
            "diabetes",
            *TINY,
            "--steps",
            "20",
            "--lr",
            "0.001,0.01,1000000",
            "--norm",
            "none,layer",
        ),
        *("--spec", quiet, "--out", "run"),
    )
    assert answer.code == 0, answer.err
    comparison = loads(Path("run/comparison.json").read_bytes(), Comparison)
    outcomes = {row["outcome"] for row in comparison.trials if row["lr"] == 1e6}
    assert "diverged" in outcomes
    assert comparison.failed == 0


def test_a_trial_that_raises_is_exit_one_after_the_report(
    cli: Cli, quiet: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    training = normwise.compare.trial.Training

    def broken(ground: Any, variant: Any, *rest: Any, **more: Any) -> Any:
        if variant.norm == "batch":
            raise RuntimeError("no luck")
        return training(ground, variant, *rest, **more)

    monkeypatch.setattr(normwise.compare.trial, "Training", broken)
    answer = cli(*WINE, "--spec", quiet, "--out", "run")
    assert answer.code == 1
    assert "RuntimeError: no luck" in answer.message
    assert "'batch'" in answer.message
    assert (tmp_path / "run" / "report.html").exists()


def test_a_variant_of_which_no_trial_finished_is_exit_one(cli: Cli, quiet: str) -> None:
    answer = cli(
        *("compare", "diabetes", *TINY, "--steps", "20", "--lr", "1000000", "--norm", "none,layer"),
        *("--spec", quiet, "--out", "run"),
    )
    assert answer.code == 1, answer.err
    assert "No trial of 'none' finished" in answer.message
    assert Path("run/report.html").exists()


def test_an_interrupt_is_exit_130(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(normwise.cli.answer, "carry_out", interrupted)
    answer = cli(*WINE)
    assert answer.code == 130
    assert "the same command goes on from there" in answer.message


def test_a_full_disk_under_the_report_is_one_message(
    cli: Cli, quiet: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(normwise.cli.page, "report", full)
    answer = cli(*WINE, "--spec", quiet, "--out", "run")
    assert answer.code == 2
    assert answer.err.splitlines()[-1].startswith("error: ")
    assert "No space left on device" in answer.message


def test_help_and_wrong_options_answer_without_torch() -> None:
    # What makes them quick; that they are is for a benchmark to say.
    program = """
import json, sys
from normwise.cli import main

answers = []
for arguments in (
    ["--help"], ["--version"], ["compare", "--help"], ["compare", "--sead", "1"], ["compare", "--norm", "bacth"],
    ["compare", "--lr", "0"], ["compare", "--seeds", "none"], ["compare", "--spec", "missing.toml"],
):
    sys.argv = ["normwise", *arguments]
    try:
        main()
        code = 0
    except SystemExit as stop:
        code = stop.code
    answers.append([arguments, code or 0, sorted({"torch", "scipy", "sklearn", "matplotlib"} & sys.modules.keys())])
print("\\n" + json.dumps(answers))
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    answers = json.loads(result.stdout.splitlines()[-1])
    assert [code for _, code, _ in answers] == [0, 0, 0, 2, 2, 2, 2, 2]
    assert all("torch" not in loaded for _, _, loaded in answers), answers


def test_help_shows_the_commands(cli: Cli) -> None:
    answer = cli("--help")
    assert answer.code == 0
    assert "compare" in answer.out
    assert "report" in answer.out
    assert "normwise 0." in cli("--version").out


LATE = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, in_features, out_features):
        super().__init__()
        self.layer = nn.Linear(in_features, out_features)
        self.seen = 0
    def forward(self, x):
        self.seen += self.training
        if self.seen > {after}:
            {what}
        return self.layer(x)
"""


@pytest.mark.parametrize("what", ["raise RuntimeError('out of luck')", "raise SystemExit"])
def test_a_model_that_fails_late_is_reported(cli: Cli, quiet: str, tmp_path: Path, what: str) -> None:
    (tmp_path / "net.py").write_text(LATE.format(after=40, what=what))
    answer = cli(
        *(
            "compare",
            "wine",
            "--model",
            "net.py",
            "--l2",
            "0,0.01",
            "--steps",
            "60",
            "--seeds",
            "1",
            "--lr",
            "0.1",
        ),
        *("--scan-seeds", "1", "--spec", quiet, "--out", "run", "--json"),
    )
    assert answer.code == 1, answer.err
    assert json.loads(answer.out)["comparison"]["failed"] > 0
    assert "Traceback" not in answer.err


def test_what_a_model_prints_is_not_among_the_data(cli: Cli, tmp_path: Path) -> None:
    talking = LATE.format(after=10**6, what="pass").replace("self.seen += self.training", "print('a batch')")
    (tmp_path / "net.py").write_text(talking)
    answer = cli(
        "compare", "wine", "--model", "net.py", "--l2", "0,0.01", "--steps", "4", "--dry-run", "--json"
    )
    assert answer.code == 0, answer.err
    assert json.loads(answer.out)["settings"][0]["variants"] == ["none", "L2 0.01"]
    assert "a batch" in answer.err
