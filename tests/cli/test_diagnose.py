"""`normwise diagnose`: the first screen, exit codes, files, configuration, and one message for what is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from normwise.cli.config import find_config
from normwise.results import loads
from normwise.results.diagnosis import Diagnosis

Cli = Callable[..., Any]
SOURCE = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, in_features=20, out_features=10, width=16):
        super().__init__()
        print("building")
        self.first, self.norm = nn.Linear(in_features, width), nn.BatchNorm1d(width)
        self.second, self.again = nn.Linear(width, width), nn.BatchNorm1d(width)
        self.head = nn.Linear(width, out_features)

    def forward(self, x):
        x = torch.relu(self.norm(self.first(x)))
        return self.head(torch.relu(self.again(self.second(x))))

class Clean(nn.Module):
    def __init__(self, in_features=20, out_features=10):
        super().__init__()
        self.first, self.head = nn.Linear(in_features, 32), nn.Linear(32, out_features)

    def forward(self, x):
        return self.head(torch.relu(self.first(x)))

class Breaks(Clean):
    def forward(self, x):
        if self.training and torch.is_grad_enabled() and len(x) == 9:
            raise RuntimeError("no batch of nine")
        return super().forward(x)

def plain(in_features, out_features):
    return nn.Sequential(nn.Linear(in_features, 8), nn.BatchNorm1d(8), nn.Linear(8, out_features))
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "net.py").write_text(SOURCE)
    return tmp_path / "net.py"


def test_a_module_alone_has_vitals_findings_and_what_was_not_checked(cli: Cli, file: Path) -> None:
    answer = cli("diagnose", "net.py:Net", "--shape", "20")
    assert answer.code == 1
    lines = answer.out.splitlines()
    assert lines[0] == "net.py:Net on random input of 20 (no data)"
    assert [line.split("?")[0] for line in lines[2:5]] == [
        "slow",
        "unstable gradients",
        "sensitive to initialization",
    ]
    assert "not measured: needs a short training (--data, data=)" in lines[2]
    assert "NW101  first  bias-before-norm" in answer.out
    assert "also second" in answer.out
    assert "help: leave the bias away" in answer.out
    assert "Not checked" in answer.out
    assert "building" not in answer.out


def test_a_short_training_is_watched_and_a_clean_one_says_what_was_checked(cli: Cli, file: Path) -> None:
    answer = cli(
        "diagnose", "net.py:Clean", "--data", "wine", "--steps", "10", "--lr", "0.01", "--ignore", "NW5"
    )
    assert answer.code == 0, answer.out
    assert "training 10 steps…" in answer.err
    assert "slow?" in answer.out.splitlines()[2]
    assert "not measured" not in answer.out.splitlines()[2]
    assert "Nothing found. Looked at: structure, initialization, batch, training;" in answer.out
    assert " of structure" in answer.out
    named = cli("diagnose", "net.py:Clean", "--shape", "20", "--select", "NW101", "--verbose")
    assert "Checked 1 rule: NW101 bias-before-norm" in named.out
    assert named.code == 0


def test_json_goes_to_stdout_and_reports_to_files_by_their_endings(cli: Cli, file: Path) -> None:
    answer = cli("diagnose", "net.py:Net", "--shape", "20", "--json", "-o", "new/d.html", "-o", "d.json")
    found = loads(answer.out, Diagnosis)
    assert found.findings[0].code == "NW101"
    assert loads((file.parent / "d.json").read_bytes(), Diagnosis).findings == found.findings
    assert "<html" in (file.parent / "new" / "d.html").read_text()
    assert answer.code == 1
    text = cli("diagnose", "net.py:Net", "--shape", "20", "--format", "html", "-o", "d.html")
    assert text.out.startswith("net.py:Net on")
    assert cli("diagnose", "net.py:Net", "--shape", "20", "--format", "html").out.startswith(
        "<!doctype html>"
    )


def test_annotations_name_the_line_of_the_class(
    cli: Cli, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GITHUB_WORKSPACE", raising=False)
    answer = cli("diagnose", "net.py:Net", "--shape", "20", "--select", "NW101", "--format", "github")
    line = SOURCE.splitlines().index("class Net(nn.Module):") + 1
    assert answer.out.startswith(f"::warning file=net.py,line={line},title=NW101 bias-before-norm::first: ")
    assert len(answer.out.splitlines()) == 1
    clean = cli("diagnose", "net.py:Clean", "--shape", "20", "--select", "NW101", "--format", "github")
    assert (clean.code, clean.out) == (0, "")


def test_rules_are_chosen_by_options_over_the_configuration(cli: Cli, file: Path) -> None:
    (file.parent / "normwise.toml").write_text('[diagnose]\nselect = ["NW102"]\nsteps = 3\n')
    found = loads(cli("diagnose", "net.py:Net", "--shape", "20", "--json").out, Diagnosis)
    assert [check.code for check in found.checks] == ["NW102"]
    arguments = (
        "diagnose",
        "net.py:Net",
        "--shape",
        "20",
        "--json",
        "--select",
        "NW101,NW102",
        "--ignore",
        "NW102",
    )
    assert [check.code for check in loads(cli(*arguments).out, Diagnosis).checks] == ["NW101"]
    trained = cli("diagnose", "net.py:Clean", "--data", "wine")
    assert "training 3 steps" in trained.err
    # The same file still holds the defaults of a comparison, which knows no such field.
    assert find_config(file.parent).fields == {}


def test_suppressions_have_reasons_and_are_counted(cli: Cli, file: Path) -> None:
    entry = '[[tool.normwise.diagnose.suppress]]\nrule = "NW101"\nlayer = "{}"\nreason = "as published"\n'
    project = file.parent / "pyproject.toml"
    project.write_text(entry.format("first"))
    answer = cli("diagnose", "net.py:Net", "--shape", "20", "--select", "NW101")
    assert answer.code == 1
    assert "NW101  second  bias-before-norm" in answer.out
    assert "note: suppressed: NW101 at first (as published)" in answer.out
    project.write_text(entry.format("*"))
    answer = cli("diagnose", "net.py:Net", "--shape", "20", "--select", "NW101")
    assert answer.code == 0
    assert "Suppressed 1, as published: NW101 bias-before-norm" in answer.out
    project.write_text(entry.format("third"))
    assert "NW101 at 'third' matches nothing" in cli("diagnose", "net.py:Net", "--shape", "20").out
    project.write_text(entry.replace('reason = "as published"\n', "").format("*"))
    wrong = cli("diagnose", "net.py:Net", "--shape", "20")
    assert (wrong.code, wrong.out) == (2, "")
    assert "pyproject.toml: a suppression must have a `reason`" in wrong.message


def test_fixes_go_to_a_copy_whose_weights_load(cli: Cli, file: Path) -> None:
    before = file.read_text()
    answer = cli("diagnose", "net.py:Net", "--shape", "20", "--fix", "-o", "fixed.safetensors")
    assert answer.code == 1
    assert "note: fixed in a copy: NW101 at first" in answer.out
    assert file.read_text() == before
    from safetensors.torch import load_file

    state = load_file(file.parent / "fixed.safetensors")
    assert "first.weight" in state
    assert "first.bias" not in state
    assert "second.bias" not in state
    assert "head.bias" in state


def test_weights_are_what_is_diagnosed(cli: Cli, file: Path) -> None:
    from normwise.models import load_user_model

    state = load_user_model("net.py:Net").plain((20,), 10).state_dict()
    arguments = (
        "diagnose",
        "net.py:Net",
        "--shape",
        "20",
        "--ignore",
        "NW101",
        "--weights",
        "w.pt",
        "--json",
    )
    torch.save(state, file.parent / "w.pt")
    before = {each.code for each in loads(cli(*arguments).out, Diagnosis).findings}
    torch.save(state | {"norm.running_var": torch.full((16,), float("nan"))}, file.parent / "w.pt")
    broken = {each.code for each in loads(cli(*arguments).out, Diagnosis).findings}
    assert any(code.startswith("NW2") for code in broken - before)
    torch.save({"first.weight": state["first.weight"]}, file.parent / "part.pt")
    wrong = cli("diagnose", "net.py:Net", "--shape", "20", "--weights", "part.pt")
    assert (wrong.code, wrong.out) == (2, "")
    assert "part.pt must fit net.py:Net" in wrong.message


def test_remedies_are_tried_where_there_is_data(
    cli: Cli, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import normwise.diagnose.prove as module
    from normwise.results import Estimate, Interval
    from normwise.results.diagnosis import Proof

    def prove(subject: Any, findings: Any, *, seeds: int, progress: Any) -> tuple[Proof, ...]:
        progress(1, 2)
        assert subject.build is not None
        nothing = Estimate(0.0, Interval(-1.0, 1.0), seeds, "pp")
        return tuple(
            Proof(f.code, f.layer, f.remedy, "no difference", nothing, "accuracy", "no change", seeds, 3)
            for f in findings
        )

    monkeypatch.setattr(module, "prove", prove)
    arguments = ("diagnose", "net.py:Net", "--data", "wine", "--steps", "3", "--select", "NW101", "--prove")
    answer = cli(*arguments, "--seeds", "6")
    assert answer.code == 1
    assert "Proof, in paired trials" in answer.out
    assert "no difference: 0 pp [-1, +1] accuracy against no change; 6 seeds of 3 steps" in answer.out
    assert "No remedy helped." in answer.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("net.py:Net",), "--data or --shape"),
        (("net.py:Net", "--shape", "20", "--data", "wine"), "Got both"),
        (("net.py:Net", "--shape", "20", "--target", "y"), "add --data"),
        (("net.py:Net", "--shape", "20", "--prove"), "--prove trains"),
        (("net.py:Net", "--shape", "20", "--raw"), "--raw keeps the units of data"),
        (("net.py:Net", "--data", "wine", "--prove", "--seeds", "2"), "--seeds must be at least 5"),
        (("net.py:Net", "--data", "wine", "--seeds", "6"), "add --prove"),
        (("net.py:Net", "--shape", "20", "--unsafe"), "add --fix"),
        (("net.py:Net", "--shape", "twenty"), "whole numbers above 0"),
        (("net.py:Net", "--shape", "21", "--model-args", "in_features=20"), "a forward pass"),
        (("net.py:Net", "--shape", "20", "--select", "NW9"), "unknown rule 'NW9'"),
        (("net.py:Net", "--shape", "20", "--ignore", "nothing"), "unknown rule 'nothing'"),
        (("net.py:Net", "--shape", "20", "--format", "xml"), "unknown format 'xml'"),
        (("net.py:Net", "--shape", "20", "--json", "--format", "html"), "leave one away"),
        (("net.py:Net", "--shape", "20", "--out", "d.md"), ".html, .json or .txt"),
        (("net.py:Net", "--shape", "20", "--out", "w.pt"), "add --fix"),
        (("net.py:Net", "--shape", "20", "--loss", "focal"), "unknown loss 'focal'"),
        (("net.py:Net", "--shape", "20", "--lr", "0"), "--lr must be above 0"),
        (("net.py:Net", "--shape", "20", "--model-args", "width"), "name=value"),
        (("net.py:Nat", "--shape", "20"), "Known: Breaks, Clean, Net, plain"),
        (("net.py:Net", "--data", "nothing.csv"), "nothing.csv"),
        (("net.py:Net", "--data", "rows.csv"), "target"),
        (("net.py:Breaks", "--data", "wine", "--steps", "3", "--batch-size", "9"), "no batch of nine"),
        (
            ("net.py:plain", "--data", "wine", "--steps", "3", "--batch-size", "1"),
            "more than 1 value per channel",
        ),
        (("net.py:Net", "--shape", "20", "--out", "net.py/d.html"), "must be written"),
        (("net.py:Net", "--shape", "20", "--fix", "--out", "net.py/w.pt"), "written"),
    ],
)
def test_what_is_wrong_is_one_message_and_nothing_is_written(
    cli: Cli, file: Path, arguments: tuple[str, ...], words: str
) -> None:
    rows = "\n".join(f"{i},{i % 7},{'ab'[i % 2]}" for i in range(60))
    (file.parent / "rows.csv").write_text(f"x,z,y\n{rows}\n")
    before = {path.name for path in file.parent.iterdir()}
    answer = cli("diagnose", *arguments)
    assert (answer.code, answer.out) == (2, "")
    assert words in answer.message
    assert "Traceback" not in answer.err
    assert len([line for line in answer.err.splitlines() if line.startswith("error: ")]) == 1
    assert {path.name for path in file.parent.iterdir()} - before <= {"__pycache__"}


def test_a_table_with_a_target(cli: Cli, file: Path) -> None:
    rows = "\n".join(f"{i % 11},{i % 7},{(i % 11) * 2 + i % 7}" for i in range(200))
    (file.parent / "rows.csv").write_text(f"x,z,y\n{rows}\n")
    answer = cli(
        "diagnose",
        "net.py:Clean",
        "--data",
        "rows.csv",
        "--target",
        "y",
        "--steps",
        "5",
        "--select",
        "NW1",
        "--json",
    )
    assert answer.code == 0, answer.message
    assert json.loads(answer.out)["measured"] == ["structure", "initialization", "batch", "training"]


def test_raw_data_have_the_faults_that_preparing_takes_away(cli: Cli, file: Path) -> None:
    rows = "\n".join(f"{i % 11},{1000 * (i % 7)},{300 + (i % 11) * 20 + i % 7}" for i in range(200))
    (file.parent / "rows.csv").write_text(f"x,z,y\n{rows}\n")
    asked = ("diagnose", "net.py:Clean", "--data", "rows.csv", "--target", "y", "--select", "NW4", "--json")
    codes = []
    for more in ((), ("--raw",)):
        answer = cli(*asked, "--steps", "20", *more)
        diagnosis = json.loads(answer.out)
        found = [*diagnosis["findings"], *(each for f in diagnosis["findings"] for each in f["dependents"])]
        codes.append({each["code"] for each in found})
    assert codes == [set(), {"NW401", "NW406"}]
