"""Files of `normwise fold`, `convert`, `insert` and `recalibrate`: recipes that load them, all of them or none."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from normwise.cli import export, model_file, output_files

Cli = Callable[..., Any]
LONG = 300 * "x"
SOURCE = """
from torch import nn

def build(num_classes=10, width=8):
    return nn.Sequential(
        nn.BatchNorm2d(1), nn.Conv2d(1, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, num_classes),
    )

def silent(width=4):
    model = nn.Sequential(nn.BatchNorm2d(1), nn.Conv2d(1, width, 3, padding=1), nn.Flatten(), nn.Linear(width * 64, 2))
    return model

def plain():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 3))

def stubborn():
    class Branch(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm, self.head = nn.BatchNorm1d(64), nn.Linear(64, 3)
        def forward(self, x):
            return self.head(self.norm(x.flatten(1)) if len(x.tolist()) < 3 else x.flatten(1))
    return Branch()
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "net.py").write_text(SOURCE)
    return tmp_path / "net.py"


def network() -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.BatchNorm2d(1),
        nn.Conv2d(1, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 10),
    )
    for _ in range(3):
        model(2 * torch.randn(16, 1, 8, 8) + 1)
    return model.eval()


def found_by(cli: Cli, *arguments: str) -> dict[str, Any]:
    answer = cli(*arguments, "--json")
    assert answer.code == 0, answer.err
    found: dict[str, Any] = json.loads(answer.out)
    return found


@pytest.mark.parametrize("ending", [".safetensors", ".pt"])
def test_a_folded_file_loads_by_its_recipe_in_a_fresh_process(cli: Cli, file: Path, ending: str) -> None:
    model, x = network(), torch.randn(5, 1, 8, 8)
    torch.save(model.state_dict(), file.parent / "w.pt")
    torch.save(x, file.parent / "x.pt")
    options = ("--shape", "1,8,8", "--weights", "w.pt", "-o", f"folded{ending}")
    found = found_by(cli, "fold", "net.py:build", *options)
    assert [edit["after"] for edit in found["edits"] if edit["name"] == "0"] == ["ChannelPad"]
    assert not any("w.pt" in line for line in found["load"])  # fresh weights are enough
    code = [*found["load"], "torch.save(model(torch.load('x.pt')), 'y.pt')"]
    subprocess.run([sys.executable, "-c", "\n".join(code)], cwd=file.parent, check=True)
    torch.testing.assert_close(torch.load(file.parent / "y.pt"), model(x), rtol=1e-4, atol=1e-5)


def test_weights_that_fold_otherwise_are_loaded_before(cli: Cli, file: Path) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.BatchNorm2d(1), nn.Conv2d(1, 4, 3, padding=1), nn.Flatten(), nn.Linear(256, 2)
    ).eval()
    norm: Any = model[0]
    with torch.no_grad():  # nothing is mapped to zero, so that the norm stays
        norm.weight.zero_()
        norm.bias.fill_(1.0)
    torch.save(model.state_dict(), file.parent / "w.pt")
    found = found_by(cli, "fold", "net.py:silent", "--shape", "1,8,8", "--weights", "w.pt", "-o", "f.pt")
    assert any("fresh weights fold otherwise" in note for note in found["notes"])
    names: dict[str, Any] = {}
    exec("\n".join(found["load"]), names)
    x = torch.randn(3, 1, 8, 8)
    torch.testing.assert_close(names["model"](x), model(x))


def test_a_converted_file_loads_by_its_recipe(cli: Cli, file: Path) -> None:
    torch.save(network().state_dict(), file.parent / "w.pt")
    options = ("--shape", "1,8,8", "--weights", "w.pt", "--only", "2", "-o", "g.safetensors")
    found = found_by(cli, "convert", "net.py:build", "batch", "group:4", *options)
    names: dict[str, Any] = {}
    exec("\n".join(found["load"]), names)
    assert "GroupNorm(4, 8" in repr(names["model"])
    torch.testing.assert_close(names["model"][1].weight.detach(), torch.load("w.pt")["1.weight"])


def test_nothing_to_change_is_said_of_the_file(cli: Cli, file: Path) -> None:
    answer = cli("fold", "net.py:plain", "--shape", "1,8,8", "-o", "f.pt")
    assert answer.code == 0, answer.err
    assert "nothing was changed: a file that is written holds the model as it was" in answer.out
    found = found_by(cli, "fold", "net.py:plain", "--shape", "1,8,8", "-o", "f.pt")
    names: dict[str, Any] = {}
    exec("\n".join(found["load"]), names)
    assert set(names["model"].state_dict()) == {"1.weight", "1.bias"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("fold", "net.py:build", "--shape", "1,8,8", "-o", "folder.pt"), "folder.pt: it is a directory"),
        (("fold", "net.py:build", "--shape", "1,8,8", "-o", "net.py/w.pt"), "net.py is no directory"),
        (
            ("fold", "net.py:build", "--shape", "1,8,8", "--onnx", "folder.pt/../net.py/f.onnx"),
            "net.py is no",
        ),
        (("fold", "net.py:build", "--shape", "1,8,8", "--onnx", f"{LONG}.onnx"), "--onnx must name a file"),
        (
            ("fold", "net.py:build", "--shape", "1,8,8", "--onnx", "f.bin"),
            "an ONNX model is written as .onnx",
        ),
        (("fold", "net.py:build", "--shape", "1,8,8", "--exported-program", "f.zip"), "written as .pt2"),
        (("insert", "net.py:plain", "batch", "--shape", "1,8,8", "-o", "folder.pt"), "it is a directory"),
        (
            ("convert", "net.py:build", "batch", "layer", "--shape", "1,8,8", "-o", f"{LONG}.pt"),
            "name too long",
        ),
        (("recalibrate", "net.py:build", "digits", "-o", "net.py/w.pt"), "net.py is no directory"),
    ],
)
def test_files_are_looked_at_before_the_work(
    cli: Cli, file: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], words: str
) -> None:
    def worked(*_: object, **__: object) -> None:
        raise AssertionError("the model is built, or the data is read")

    monkeypatch.setattr(model_file, "load", worked)
    monkeypatch.setattr(model_file, "batches_of", worked)
    (file.parent / "folder.pt").mkdir()
    before = sorted(file.parent.iterdir())
    answer = cli(*arguments)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.count("error:") == 1
    assert words in answer.message
    assert sorted(file.parent.iterdir()) == before


def test_one_file_that_fails_leaves_none(cli: Cli, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    (file.parent / "f.pt").write_bytes(b"of before")
    arguments = ("fold", "net.py:build", "--shape", "1,8,8", "-o", "f.pt", "--onnx", "deep/f.onnx")
    monkeypatch.setattr(export, "write_onnx", full)
    answer = cli(*arguments)
    assert (answer.code, answer.out) == (2, "")
    assert "f.onnx: No space left on device" in answer.message
    assert (file.parent / "f.pt").read_bytes() == b"of before"
    assert sorted(path.name for path in file.parent.rglob("*") if path.is_file()) == ["f.pt", "net.py"]


def test_what_torch_cannot_export_is_one_line(cli: Cli, file: Path) -> None:
    options = ("--shape", "1,8,8", "-o", "f.pt", "--exported-program", "f.pt2")
    answer = cli("fold", "net.py:stubborn", *options)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.count("\n") == answer.err.count("error:") == 1
    assert "torch must be able to export the model for --exported-program" in answer.err
    assert not (file.parent / "f.pt").exists()


def test_several_files_are_named_when_all_are_whole(tmp_path: Path) -> None:
    def seen(file: Path) -> None:
        assert not (tmp_path / "a").exists()
        file.write_text("b")

    output_files.write_files(
        "test", {tmp_path / "a": lambda file: file.write_text("a"), tmp_path / "b": seen}
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_data_of_another_shape_is_one_line(cli: Cli, file: Path) -> None:
    answer = cli("recalibrate", "net.py:build", "wine")
    assert (answer.code, answer.out) == (2, "")
    (line,) = [line for line in answer.err.splitlines() if line.startswith("error:")]
    assert "net.py:build must run on the data" in line
    assert "a batch of wine has the shape (64,13)" in line
    assert "Traceback" not in answer.err


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_weights_of_another_dtype_are_spoken_of(cli: Cli, file: Path, dtype: torch.dtype) -> None:
    torch.save(
        {k: v.to(dtype) if v.is_floating_point() else v for k, v in network().state_dict().items()}, "w.pt"
    )
    answer = cli("fold", "net.py:build", "--shape", "1,8,8", "--weights", "w.pt", "-o", "f.pt")
    name = str(dtype).removeprefix("torch.")
    assert (
        f"note: w.pt has {name} where the model has float32: computed, and written, in float32" in answer.out
    )
    assert {value.dtype for value in torch.load("f.pt").values()} == {torch.float32}


def test_a_pickled_model_is_one_line_without_advice(cli: Cli, file: Path) -> None:
    torch.save(network(), "whole.pt")
    (file.parent / "junk.pt").write_text("junk")
    for name, words in (
        ("whole.pt", "it holds a torch.nn.modules.container.Sequential"),
        ("junk.pt", "torch.save"),
    ):
        answer = cli("fold", "net.py:build", "--shape", "1,8,8", "--weights", name)
        assert (answer.code, answer.out) == (2, "")
        assert answer.err.count("\n") == 1
        assert words in answer.err
        assert "weights_only" not in answer.err
        assert "\x1b" not in answer.err
