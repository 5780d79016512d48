"""`normwise insert`: a plan, the lines for the source, weights that load, and one message for what is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

Cli = Callable[..., Any]
SOURCE = """
from torch import nn

class Net(nn.Module):
    def __init__(self, in_features, num_classes, width=32):
        super().__init__()
        print("building")
        self.first, self.head = nn.Linear(in_features, width), nn.Linear(width, num_classes)

    def forward(self, x):
        return self.head(self.first(x).relu())
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "net.py").write_text(SOURCE)
    return tmp_path / "net.py"


def test_the_plan_the_lines_and_the_weights(cli: Cli, file: Path) -> None:
    out = file.parent / "new" / "w.safetensors"
    answer = cli("insert", f"{file}:Net", "batch", "--shape", "20", "--outputs", "3", "--out", str(out))
    assert answer.code == 0
    assert "first  nn.Linear  nn.Linear → BatchNorm1d" in answer.out
    assert "self.first = nn.Sequential(self.first, nw.BatchNorm1d(32))" in answer.out
    assert 'nw.insert(model, "batch", torch.randn(16, 20))' in answer.out
    assert "times as long" in answer.out
    assert [path.name for path in out.parent.iterdir()] == ["w.safetensors"]
    from safetensors.torch import load_file

    assert load_file(out)["first.norm.running_var"].tolist() == [1.0] * 32
    # Weights of the model as it was go in, and what does not fit is said.
    torch.save({"first.weight": torch.ones(32, 20)}, file.parent / "part.pt")
    for weights, words in (
        (file.parent / "part.pt", "no 'first.bias'"),
        (out, "too many"),
        (file, "state_dict"),
    ):
        wrong = cli(
            "insert", f"{file}:Net", "batch", "--shape", "20", "--outputs", "3", "--weights", str(weights)
        )
        assert (wrong.code, wrong.out) == (2, "")
        assert words in wrong.err


def test_json_and_a_dry_run_write_nothing(cli: Cli, file: Path) -> None:
    arguments = (
        "insert",
        f"{file}:Net",
        "layer",
        "--example",
        "4,20",
        "--dry-run",
        "-o",
        str(file.parent / "w.pt"),
    )
    answer = cli(*arguments, "--json")
    found = json.loads(answer.out)
    assert [edit["name"] for edit in found["edits"]] == ["first", "head"]
    assert found["written"] == []
    assert found["parameters"][1] - found["parameters"][0] == 64
    assert "not written (--dry-run)" in cli(*arguments).out
    assert [path.name for path in file.parent.iterdir() if path.suffix != ".py"] in ([], ["__pycache__"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("batsh", "--shape", "20"), "Did you mean 'batch'"),
        (("batch",), "write --shape 3,224,224"),
        (("batch", "--shape", "20", "--example", "4,20"), "both --shape and --example"),
        (("batch", "--shape", "2O"), "whole numbers above 0"),
        (("batch", "--shape", "20", "--only", "x*"), "it is not asked for"),
        (("batch", "--shape", "20", "--out", "w.bin"), ".safetensors, .pt or .pth"),
        (("batch", "--shape", "20", "--model-args", "width"), "name=value"),
        (("batch", "--shape", "20", "--weights", "none.pt"), "must exist"),
    ],
)
def test_what_is_wrong_is_one_line(cli: Cli, file: Path, arguments: tuple[str, ...], words: str) -> None:
    answer = cli("insert", f"{file}:Net", *arguments)
    assert (answer.code, answer.out) == (2, "")
    lines = [line for line in answer.err.splitlines() if line.startswith("error:")]
    assert len(lines) == 1
    assert words in lines[0]
