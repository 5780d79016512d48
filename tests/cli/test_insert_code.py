"""The code that `normwise insert` prints, executed: the same layers in the source, and the written weights loaded."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import normwise as nw
from normwise.cli.snippet import written_norm, written_path
from normwise.models.norm import Norm
from normwise.models.user import load_user_model
from normwise.norms import KINDS

Cli = Callable[..., Any]
SOURCE = """
from torch import nn

class Net(nn.Module):
    def __init__(self, num_classes=10, width=8):
        super().__init__()
        self.f = nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        )
        self.mid, self.act, self.h = nn.Linear(width, width), nn.ReLU(), nn.Linear(width, num_classes)

    def forward(self, x):
        return self.h(self.act(self.mid(self.f(x))))

def build():
    return nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.Flatten(), nn.LazyLinear(10))
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "net.py").write_text(SOURCE)
    return tmp_path / "net.py"


def inserted(cli: Cli, *arguments: str) -> dict[str, Any]:
    answer = cli("insert", *arguments, "--json")
    assert answer.code == 0, answer.err
    found: dict[str, Any] = json.loads(answer.out)
    return found


def norms(model: nn.Module) -> list[str]:
    return [repr(module) for module in model.modules() if type(module).__module__.startswith("normwise")]


def own_norms(model: nn.Module) -> list[str]:
    return [repr(module) for name, module in model.named_modules() if name.rpartition(".")[2] == "norm"]


@pytest.mark.parametrize("kind", ["group:4", "group", "ghost:4", "decorrelated:4", "layer", "batch_renorm:2"])
@pytest.mark.parametrize("builder", ["Net", "build"])
def test_the_lines_make_the_inserted_layers(cli: Cli, file: Path, kind: str, builder: str) -> None:
    found = inserted(
        cli, f"{file.name}:{builder}", kind, "--shape", "1,8,8", "--only", "f.*", "--only", "[02]"
    )
    torch.manual_seed(0)
    model, x = load_user_model(f"{file.name}:{builder}").plain((1, 8, 8), 10), torch.randn(16, 1, 8, 8)
    model(x)  # lazy shapes
    expected, _ = nw.insert(copy.deepcopy(model), kind, x, only=("f.*", "[02]"))
    root = "self" if builder == "Net" else "model"
    names: dict[str, Any] = {root: model}
    exec("\n".join(found["code"]), names)
    assert norms(names[root]) == own_norms(expected)
    assert len(norms(names[root])) == 2
    # In training, in which a ghost or a group of another size shows.
    torch.testing.assert_close(names[root].train()(x), expected.train()(x))


def test_every_option_is_in_the_call_and_the_weights_load(cli: Cli, file: Path) -> None:
    out = file.parent / "w.safetensors"
    options = ("--only", "mid", "--only", "h", "--output", "--identity", "--model-args", "width=16")
    found = inserted(cli, "net.py:Net", "batch", "--shape", "1,8,8", *options, "-o", str(out))
    code = "\n".join(found["load"])
    assert 'only=("mid", "h"), output=True, identity=True' in code
    names: dict[str, Any] = {}
    exec(code, names)
    model, written = names["model"], torch.randn(3, 1, 8, 8)
    assert {name for name, _ in model.named_modules() if name.endswith("norm")} == {"mid.norm", "h.norm"}
    plain = load_user_model("net.py:Net", {"width": "16"}).plain((1, 8, 8), 10)
    torch.testing.assert_close(model.eval()(written), plain.eval()(written), rtol=1e-4, atol=1e-5)


def test_behind_activations_and_with_a_single_pattern(cli: Cli, file: Path) -> None:
    arguments = ("net.py:Net", "group:2", "--shape", "1,8,8", "--where", "after", "--only", "f.0")
    found = inserted(cli, *arguments, "-o", "w.pt")
    names: dict[str, Any] = {}
    exec("\n".join(found["load"]), names)
    state = torch.load("w.pt")
    assert set(names["model"].state_dict()) == set(state)
    names["self"] = load_user_model("net.py:Net").plain((1, 8, 8), 10)
    exec("\n".join(found["code"]), names)
    assert repr(names["self"].f[1]) == repr(nn.Sequential(nn.ReLU(), nw.GroupNorm(2, 8)))


@pytest.mark.parametrize(
    ("name", "images"),
    [
        *((name, False) for name, kind in KINDS.items() if kind.features),
        *((name, True) for name, kind in KINDS.items() if kind.images),
    ],
)
def test_every_kind_is_written_so_that_it_is_made_again(name: str, images: bool) -> None:
    spec = Norm.parse(f"{name}:4" if KINDS[name].number is not None else name, "test")
    norm = spec.for_images(8, 4, 4) if images else spec.for_features(8)
    assert norm is not None
    for each in (norm, norm.double()):
        made = eval(written_norm(each), {"nw": nw, "torch": torch})
        assert repr(made) == repr(each)
        torch.testing.assert_close(dict(made.state_dict()), dict(each.state_dict()))


def test_names_that_are_no_identifiers() -> None:
    model = nn.ModuleDict({"a-b": nn.Sequential(nn.Identity()), "class": nn.ModuleList([nn.Tanh()])})
    odd = nn.Module()
    odd.add_module("0", nn.Sigmoid())
    model["odd"] = odd
    model["gap"] = nn.Sequential(nn.ReLU(), nn.ELU(), nn.GELU())
    del model["gap"]._modules["1"]
    for name in ("a-b.0", "class.0", "odd.0", "gap.2"):
        assert eval(written_path("self", model, name), {"self": model}) is model.get_submodule(name)
        names = {"self": model, "new": nn.Hardtanh()}
        exec(f"{written_path('self', model, name)} = new", names)
        assert model.get_submodule(name) is names["new"]


def test_given_weights_are_in_the_recipe_where_none_are_written(cli: Cli, file: Path) -> None:
    torch.manual_seed(5)
    weights = {
        k: torch.randn_like(v)
        for k, v in load_user_model("net.py:Net").plain((1, 8, 8), 10).state_dict().items()
    }
    torch.save(weights, "given.pt")
    found = inserted(cli, "net.py:Net", "batch", "--shape", "1,8,8", "--weights", "given.pt")
    names: dict[str, Any] = {}
    exec("\n".join(found["load"]), names)
    torch.testing.assert_close(names["model"].state_dict()["h.weight"], weights["h.weight"])
