"""Whatever is wrong with a question: one message, exit code 2, no traceback, nothing written."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from normwise.compare.store import SCHEMA_VERSION

Cli = Callable[..., Any]


def table(path: Path, rows: list[str], header: str = "height,weight,kind") -> str:
    path.write_text("\n".join([header, *rows]) + "\n")
    return path.name


def good_rows(count: int = 40) -> list[str]:
    return [f"{i * 0.7:.2f},{i * i % 17},{'ab'[i % 2]}" for i in range(count)]


def images(folder: Path, count: int = 6) -> None:
    for kind in ("cat", "dog"):
        (folder / kind).mkdir(parents=True)
        for i in range(count):
            pixels = np.random.default_rng(i).integers(0, 255, (8, 8), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / kind / f"{i}.png")


def no_target(here: Path) -> list[str]:
    return [table(here / "data.csv", good_rows())]


def wrong_column(here: Path) -> list[str]:
    return [table(here / "data.csv", good_rows()), "--target", "kinds"]


def infinite_value(here: Path) -> list[str]:
    return [table(here / "data.csv", [*good_rows(), "inf,2,a"]), "--target", "kind"]


def infinite_target(here: Path) -> list[str]:
    return [table(here / "data.csv", [*good_rows(), "1.0,inf,a"]), "--target", "weight"]


def nan_in_array(here: Path) -> list[str]:
    x = np.random.default_rng(0).normal(size=(40, 3))
    x[3, 1] = np.nan
    np.savez(here / "data.npz", x=x, y=np.arange(40) % 2)
    return ["data.npz"]


def objects_in_array(here: Path) -> list[str]:
    np.savez(here / "data.npz", x=np.array([{"a": 1}] * 40, dtype=object), y=np.arange(40) % 2)
    return ["data.npz"]


def empty_folder(here: Path) -> list[str]:
    (here / "pictures").mkdir()
    return ["pictures"]


def broken_image(here: Path) -> list[str]:
    images(here / "pictures")
    (here / "pictures" / "cat" / "3.png").write_bytes(b"\x89PNG\r\n\x1a\n and then nothing")
    return ["pictures"]


def foreign_directory(here: Path) -> list[str]:
    (here / "thesis").mkdir()
    (here / "thesis" / "chapter1.tex").write_text("years of work")
    return ["wine", "--out", "thesis"]


def file_in_the_way(here: Path) -> list[str]:
    (here / "thesis").write_text("years of work")
    return ["wine", "--out", "thesis/run"]


def run_of_another_version(here: Path) -> list[str]:
    (here / "run").mkdir()
    (here / "run" / "run.json").write_text(f'{{"format": "normwise-run", "schema": {SCHEMA_VERSION + 1}}}')
    return ["wine", "--out", "run"]


def spec_with(name: str, text: str) -> Callable[[Path], list[str]]:
    def write(here: Path) -> list[str]:
        (here / name).write_text(text)
        return ["--spec", name]

    return write


TRAINS = """
import torch
net = torch.nn.Linear(2, 1)
net(torch.zeros(3, 2)).sum().backward()
"""
WIDE = """
from torch import nn
def build(in_features):
    return nn.Linear(in_features, 7)
"""
RAISES = """
from torch import nn
class Net(nn.Module):
    def __init__(self, in_features):
        super().__init__()
        self.layer = nn.Linear(in_features, 3)
    def forward(self, x):
        raise ValueError("half a batch")
"""
WIDTH = """
from torch import nn
def build(in_features, out_features, width=4):
    return nn.Sequential(nn.Linear(in_features, width), nn.ReLU(), nn.Linear(width, out_features))
"""


def model_file(text: str, name: str = "", args: tuple[str, ...] = ()) -> Callable[[Path], list[str]]:
    def write(here: Path) -> list[str]:
        (here / "net.py").write_text(text)
        return ["wine", "--model", "net.py" + (f":{name}" if name else ""), *args]

    return write


def configured(text: str) -> Callable[[Path], list[str]]:
    def write(here: Path) -> list[str]:
        (here / "normwise.toml").write_text(text)
        return ["wine"]

    return write


def drop_unknown(here: Path) -> list[str]:
    return [table(here / "data.csv", good_rows()), "--target", "kind", "--drop", "heigth"]


def unknown_group(here: Path) -> list[str]:
    return [table(here / "data.csv", good_rows()), "--target", "kind", "--group", "hight"]


def drop_all(here: Path) -> list[str]:
    return [table(here / "data.csv", good_rows()), "--target", "kind", "--drop", "height,weight"]


def time_and_group(here: Path) -> list[str]:
    columns = ["--target", "kind", "--time", "height", "--group", "weight"]
    return [table(here / "data.csv", good_rows()), *columns]


def no_test_table(here: Path) -> list[str]:
    return [table(here / "data.csv", good_rows()), "--target", "kind", "--test-data", "nowhere.csv"]


def other_test_table(here: Path) -> list[str]:
    table(here / "test.csv", ["1.0,a", "2.0,b"], header="height,kind")
    return [table(here / "data.csv", good_rows()), "--target", "kind", "--test-data", "test.csv"]


def image_size_of_table(here: Path) -> list[str]:
    return [table(here / "data.csv", good_rows()), "--target", "kind", "--image-size", "8"]


def three_rows(here: Path) -> list[str]:
    return [table(here / "data.csv", good_rows(3)), "--target", "kind"]


def picture_as_text(here: Path) -> list[str]:
    Image.fromarray(np.zeros((8, 8), dtype=np.uint8)).save(here / "data.png")
    (here / "data.png").rename(here / "data.csv")
    return ["data.csv", "--target", "kind"]


def spreadsheet(here: Path) -> list[str]:
    (here / "data.xlsx").write_bytes(b"PK\x03\x04 and so on")
    return ["data.xlsx", "--target", "kind"]


def one_class(here: Path) -> list[str]:
    images(here / "pictures")
    for path in sorted((here / "pictures" / "dog").iterdir()):
        path.unlink()
    (here / "pictures" / "dog").rmdir()
    return ["pictures"]


def typed(*arguments: str) -> Callable[[Path], list[str]]:
    return lambda _: list(arguments)


CASES: dict[str, tuple[Callable[[Path], list[str]], list[str]]] = {
    "unknown variant": (typed("--norm", "bacth"), ["'bacth'", "Did you mean 'batch'", "layer"]),
    "unknown data set": (typed("wein"), ["data set 'wein'", "Did you mean 'wine'", "digits"]),
    "no such file": (typed("./data.csv", "--target", "kind"), ["./data.csv must exist"]),
    "unknown column": (wrong_column, ["'kinds'", "Did you mean 'kind'", "height, kind, weight"]),
    "no target": (no_target, ["height", "weight", "kind", "for example --target"]),
    "infinity in a column": (infinite_value, ["height", "finite", "row 41"]),
    "infinity in the target": (infinite_target, ["'weight' must be finite", "inf in row 41"]),
    "NaN in an array": (nan_in_array, ["data.npz", "finite", "NaN", "row 4"]),
    "objects in an array": (objects_in_array, ["'x'", "object", "unpickle"]),
    "empty folder": (empty_folder, ["pictures", "sub-folder"]),
    "broken image": (broken_image, ["pictures/cat/3.png"]),
    "channels and groups": (
        typed("digits", "--norm", "none,group:5", "--network", "cnn"),
        ["16 and 5", "1, 2, 4, 8, 16"],
    ),
    "batch larger than the data": (
        typed("wine", "--batch-size", "5000"),
        ["--batch-size 5000", "106 training rows", "use --batch-size"],
    ),
    "batch of one": (
        typed("wine", "--batch-size", "1", "--norm", "none,batch"),
        ["--batch-size 1", "--norm group"],
    ),
    "learning rate of zero": (typed("--lr", "0.1,0"), ["--lr", "positive", "0.0"]),
    "negative learning rate": (typed("--lr", "-0.1"), ["--lr", "positive"]),
    "learning rate in words": (typed("--lr", "fast"), ["`--lr` must be numbers", "'fast'"]),
    "foreign directory": (foreign_directory, ["thesis", "another name"]),
    "a file in the way": (file_in_the_way, ["thesis/run", "--out"]),
    "run of another version": (
        run_of_another_version,
        [f"version {SCHEMA_VERSION + 1}", "--out a new directory"],
    ),
    "cnn on rows": (typed("wine", "--network", "cnn"), ["a cnn needs images", "--network mlp"]),
    "augmented rows": (typed("wine", "--augment", "flip"), ["augment", "images"]),
    "unknown metric": (typed("wine", "--metric", "acuracy"), ["Did you mean 'accuracy'"]),
    "unknown baseline": (
        typed("wine", "--norm", "none,batch", "--baseline", "bacth"),
        ["Did you mean 'batch'"],
    ),
    "unknown position": (typed("--position", "befor"), ["Did you mean 'before'"]),
    "unknown initialization": (typed("--init", "hee"), ["Did you mean 'he'"]),
    "initialization of no number": (typed("--init", "he:big"), ["--init", "number", "'big'"]),
    "unknown optimizer": (typed("--optimizer", "sdg"), ["optimizer 'sdg'", "Did you mean 'sgd'"]),
    "unknown task": (typed("wine", "--task", "regresion"), ["task", "'regression'"]),
    "target of a named data set": (typed("wine", "--target", "x"), ["wine", "target"]),
    "steps and epochs": (typed("--steps", "5", "--epochs", "2"), ["not both"]),
    "endless epochs": (typed("--epochs", "inf"), ["epochs", "finite"]),
    "no seeds": (typed("--seeds", "0"), ["seeds"]),
    "half a variant": (typed("--variant", "batch"), ["norm=batch,dropout=0.2"]),
    "variants and norms": (typed("--variant", "norm=batch", "--norm", "layer"), ["cannot be mixed"]),
    "no spec": (typed("--spec", "none.toml"), ["none.toml", "No such file"]),
    "spec that is no TOML": (spec_with("q.toml", "data = "), ["TOML", "q.toml"]),
    "spec that is a list": (spec_with("q.json", "[1, 2]"), ["q.json", "list"]),
    "spec with a list in it": (spec_with("q.json", '{"spec": [1, 2]}'), ["q.json", "list"]),
    "no such budget": (typed("wine", "--budget", "soon"), ["--budget", "'soon'", "3m"]),
    "budget of nothing": (typed("wine", "--budget", "0s"), ["--budget", "'0s'"]),
    "quick and thorough": (typed("wine", "--quick", "--thorough"), ["--quick", "--thorough"]),
    "quick and seeds": (typed("wine", "--quick", "--seeds", "9"), ["--seeds", "leave all but one away"]),
    "unknown study": (typed("wine", "--study", "regularise"), ["Did you mean 'regularize'"]),
    "unknown preset": (typed("--preset", "articel"), ["Did you mean 'article'"]),
    "preset and study": (typed("--preset", "article", "--study", "norm"), ["--preset", "leave one away"]),
    "share above one": (typed("wine", "--train-share", "1,2"), ["--train-share", "at most 1"]),
    "share of no rows": (typed("wine", "--train-share", "0.01"), ["must", "1 training rows"]),
    "column to drop": (drop_unknown, ["'heigth'", "Did you mean 'height'"]),
    "all columns dropped": (drop_all, ["input column"]),
    "unknown group": (unknown_group, ["'hight'", "Did you mean 'height'"]),
    "group of a named data set": (typed("wine", "--group", "x"), ["wine", "group"]),
    "time and group": (time_and_group, ["group", "time"]),
    "test table that is not there": (no_test_table, ["nowhere.csv"]),
    "test table of other columns": (other_test_table, ["weight"]),
    "image size for a table": (image_size_of_table, ["image_size"]),
    "image size of none": (typed("--image-size", "0"), ["--image-size", "greater than or equal to 1"]),
    "three rows": (three_rows, ["10 usable rows", "3 rows"]),
    "text that is a picture": (picture_as_text, ["data.csv"]),
    "spreadsheet": (spreadsheet, ["data.xlsx", "CSV"]),
    "folder with one class": (one_class, ["pictures", "'cat'"]),
    "no model there": (typed("wine", "--model", "net.py:Net"), ["net.py"]),
    "no such name in a model file": (model_file("class Net: pass", "Nett"), ["Nett", "Net"]),
    "model that does not parse": (model_file("def build(:\n    pass"), ["net.py", "line 1"]),
    "model that raises at import": (model_file("raise RuntimeError('no weights')"), ["no weights", "net.py"]),
    "model that trains at import": (model_file(TRAINS), ["__name__"]),
    "model that is no module": (model_file("def build():\n    return 3"), ["build", "Module"]),
    "model of the wrong width": (model_file(WIDE), ["7", "3"]),
    "model that raises": (model_file(RAISES), ["ValueError", "half a batch"]),
    "model arguments without a model": (typed("wine", "--model-args", "a=1"), ["--model"]),
    "model argument of no name": (model_file(WIDE, args=("--model-args", "128")), ["name=value", "'128'"]),
    "unknown model argument": (model_file(WIDTH, args=("--model-args", "widht=8")), ["widht", "width"]),
    "several model arguments at once": (
        model_file(WIDTH, args=("--model-args", "width=8,depth=2")),
        ["name=value", "width=8,depth=2"],
    ),
    "unknown network": (typed("wine", "--network", "mpl"), ["Did you mean 'mlp'"]),
    "workers of a configuration": (configured('workers = "two"'), ["`workers`", "'two'"]),
    "no workers of a configuration": (configured("workers = 0"), ["`workers`", "from 1 on"]),
    "out of a configuration": (configured("out = 3"), ["`out`", "directory"]),
    "network model": (typed("wine", "--network", "model"), ["--model file.py:name"]),
    "depth of a model": (model_file(WIDTH, args=("--depth", "2,4")), ["depths", "net.py"]),
    "broken configuration": (configured("seeds = "), ["normwise.toml", "TOML"]),
    "unknown field of a configuration": (
        configured("sead = 3"),
        ["'sead'", "Defaults come from", "normwise.toml"],
    ),
    "spec with an unknown field": (spec_with("q.toml", 'dato = "wine"'), ["'dato'", "Did you mean 'data'"]),
}


@pytest.mark.parametrize("name", CASES)
def test_bad_input_ends_in_one_message_and_leaves_nothing_behind(cli: Cli, tmp_path: Path, name: str) -> None:
    prepare, words = CASES[name]
    arguments = prepare(tmp_path)
    before = {path: path.read_bytes() if path.is_file() else None for path in tmp_path.rglob("*")}
    answer = cli("compare", *arguments)
    assert answer.code == 2, answer.err
    assert answer.out == ""
    assert "Traceback" not in answer.err
    errors = [line for line in answer.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, answer.err
    assert all(word in errors[0] for word in words), errors[0]
    assert {path: path.read_bytes() if path.is_file() else None for path in tmp_path.rglob("*")} == before


def test_the_option_that_a_missing_target_suggests_works_as_far_as_its_data(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "my data").mkdir()
    table(tmp_path / "my data" / "one two.csv", good_rows())
    answer = cli("compare", "my data/one two.csv")
    found = re.search(r"for example (--target \S+)", answer.err)
    assert found is not None, answer.err
    suggested = shlex.split(found[1].rstrip("."))
    again = cli("compare", "my data/one two.csv", *suggested, "--batch-size", "5000")
    assert "--batch-size 5000" in again.err  # the next thing wrong, which is asked after the data was read


@pytest.mark.parametrize(
    "arguments", [("compare", "--sead", "3"), ("compere",), ("compare", "--seeds", "many")]
)
def test_wrong_options_are_told_by_the_parser(cli: Cli, arguments: tuple[str, ...]) -> None:
    answer = cli(*arguments)
    assert answer.code == 2
    assert answer.out == ""
    assert "Traceback" not in answer.err
    assert arguments[-1] in answer.err or arguments[1] in answer.err
    assert len(answer.err.splitlines()) == 1
    assert "hint: see normwise" in answer.err


def test_no_command_at_all_shows_the_help(cli: Cli) -> None:
    answer = cli()
    assert answer.code == 2
    assert "Usage:" in answer.err + answer.out
    assert "compare" in answer.err + answer.out
