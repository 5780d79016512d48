"""`normwise fold`, `convert` and `recalibrate`: records, files that load, and one message for what is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

Cli = Callable[..., Any]
SOURCE = """
from torch import nn

def build(num_classes=10, width=8):
    return nn.Sequential(
        nn.Conv2d(1, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, num_classes),
    )
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "net.py").write_text(SOURCE)
    return tmp_path / "net.py"


def network() -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 10),
    )
    model(torch.randn(16, 1, 8, 8) + 1)
    return model.eval()


def test_a_folded_model_is_written_in_three_forms(cli: Cli, file: Path) -> None:
    model, x = network(), torch.randn(5, 1, 8, 8)
    save_file(model.state_dict(), file.parent / "w.safetensors")
    folder = file.parent / "out"
    names = [folder / name for name in ("f.safetensors", "f.onnx", "f.pt2")]
    answer = cli(
        *("fold", f"{file}:build", "--example", "2,1,8,8", "--weights", str(file.parent / "w.safetensors")),
        *("-o", str(names[0]), "--onnx", str(names[1]), "--exported-program", str(names[2])),
    )
    assert answer.code == 0, answer.err
    assert "2 places changed" in answer.out
    assert "modules before" in answer.out
    expected = model(x)
    folded = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), *model[2:])
    state = load_file(names[0])
    folded[0].load_state_dict({key[2:]: value for key, value in state.items() if key.startswith("0.")})
    torch.testing.assert_close(folded(x), expected, rtol=1e-5, atol=1e-5)
    session = onnxruntime.InferenceSession(names[1])
    (output,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    np.testing.assert_allclose(output, expected.detach().numpy(), rtol=1e-4, atol=1e-5)
    program = torch.export.load(names[2]).module()
    torch.testing.assert_close(program(x), expected, rtol=1e-5, atol=1e-5)
    assert sorted(path.name for path in folder.iterdir() if path.suffix != ".data") == sorted(
        n.name for n in names
    )


def test_a_dry_run_writes_nothing_and_json_says_what_would_be(cli: Cli, file: Path) -> None:
    out = file.parent / "w.pt"
    arguments = ("fold", f"{file}:build", "--shape", "1,8,8", "--dry-run", "-o", str(out))
    found = json.loads(cli(*arguments, "--json").out)
    assert found["modules"][1] < found["modules"][0]
    assert [edit["why"] for edit in found["edits"] if edit["name"] == "1"] == ["in `0`"]
    assert found["written"] == []
    assert not out.exists()


def test_a_converted_model_loads(cli: Cli, file: Path) -> None:
    out = file.parent / "w.pt"
    answer = cli("convert", f"{file}:build", "batch", "group:4", "--data", "digits", "-o", str(out))
    assert answer.code == 0, answer.err
    assert "nw.GroupNorm, 4 groups" in answer.out
    state = torch.load(out)
    assert "1.weight" in state
    assert "1.running_mean" not in state


def test_recalibrated_statistics_are_those_of_the_data(cli: Cli, file: Path) -> None:
    from normwise.data import load

    model, out = network(), file.parent / "new.safetensors"
    save_file(model.state_dict(), file.parent / "w.safetensors")
    answer = cli(
        "recalibrate",
        f"{file}:build",
        "digits",
        "--weights",
        str(file.parent / "w.safetensors"),
        "-o",
        str(out),
    )
    assert answer.code == 0, answer.err
    assert "1,079 rows of digits" in answer.out
    inputs = load("digits").split(0).train.inputs
    var, mean = torch.var_mean(model[0](inputs).double(), dim=(0, 2, 3))
    state = load_file(out)
    torch.testing.assert_close(state["1.running_mean"].double(), mean, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(state["1.running_var"].double(), var, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("fold", "--shape", "1,8,8", "--border", "cut"), "`border` must be"),
        (("fold", "--shape", "3,8,8"), "must run on the example"),
        (("convert", "batch", "grup", "--shape", "1,8,8"), "grup"),
        (("convert", "batch", "group:4"), "must be given once"),
        (("recalibrate", "digitz"), "Did you mean 'digits'"),
        (("recalibrate", "digits", "--batch-size", "1"), "must be at least 2"),
        (("recalibrate", "digits", "--how", "fast"), "fast"),
        (("recalibrate", "digits", "-o", "w.bin"), ".safetensors, .pt or .pth"),
    ],
)
def test_what_is_wrong_is_one_line(cli: Cli, file: Path, arguments: tuple[str, ...], words: str) -> None:
    command, *others = arguments
    answer = cli(command, f"{file}:build", *others)
    assert (answer.code, answer.out) == (2, "")
    lines = [line for line in answer.err.splitlines() if line.startswith("error:")]
    assert len(lines) == 1, answer.err
    assert words in lines[0]
