"""The program for a user's own model builds what the comparison built, and trains it."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from normwise.compare.network import build
from normwise.compare.network_spec import Initialization, Network
from normwise.compare.variant import Variant
from normwise.results import Snippet

ROW, IMAGE = (6,), (2, 8, 8)
Write = Callable[..., tuple[Snippet, Snippet]]

PLAIN = """
from torch import nn
from normwise.models import norm_layer

def build(in_features, out_features, norm="none", activation="relu", width=8, dropout=0.0):
    act = {"relu": nn.ReLU, "tanh": nn.Tanh}[activation]
    return nn.Sequential(nn.Linear(in_features, width), norm_layer(norm, width), act(),
                         nn.Dropout(dropout), nn.Linear(width, out_features))
"""
CLASSES = """
from torch import nn

class Net(nn.Module):
    def __init__(self, in_channels=1, num_classes=10, norm_layer=nn.BatchNorm2d, act_layer=nn.ReLU):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(in_channels, 8, 3), norm_layer(8), act_layer(),
                                  nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(8, num_classes)

    def forward(self, x):
        return self.head(self.body(x))
"""
TUPLE = """
from torch import nn

class Net(nn.Module):
    def __init__(self, out_features):
        super().__init__()
        self.fc = nn.Linear(6, out_features)

    def forward(self, x):
        return self.fc(x), x
"""
ROWS = """
from torch import nn

def make(num_classes=3):
    return nn.Sequential(nn.Linear(128, 8), nn.ReLU(), nn.Linear(8, num_classes)).double()
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory of its own, with imports and search path as they were behind it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    known = set(sys.modules)
    importlib.invalidate_caches()
    yield tmp_path
    for name in set(sys.modules) - known:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def run(snippet: Snippet) -> dict[str, Any]:
    assert snippet.note == ""
    namespace: dict[str, Any] = {"__name__": "pasted"}
    with torch.random.fork_rng(devices=[]):
        exec(compile(snippet.text, "pasted", "exec"), namespace)
    return namespace


def assert_same_network(found: nn.Module, wanted: nn.Module, in_shape: tuple[int, ...]) -> None:
    state = wanted.state_dict()
    found.load_state_dict(dict(zip(found.state_dict(), state.values(), strict=True)))
    x = torch.randn(5, *in_shape, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(found.eval()(x), wanted.eval()(x))


@pytest.mark.parametrize("norm", ["none", "batch", "layer", "group:4", "weight", "spectral", "ghost:3"])
def test_a_builder_is_called_with_the_recommended_norm(norm: str, folder: Path, write: Write) -> None:
    folder.joinpath("user_net_plain.py").write_text(PLAIN)
    network = Network(
        kind="model", model="user_net_plain.py:build", model_args=(("width", "16"),), activation="tanh"
    )
    variant = Variant(norm=norm, dropout=0.1, l2=0.01)
    code, keras = write(network, variant, in_shape=ROW)
    assert keras.text == ""
    assert "PyTorch" in keras.note
    assert f'norm="{norm}"' in code.text or norm == "none"
    if norm not in ("weight", "spectral"):
        assert "from user_net_plain import build" in code.text
    pasted = run(code)
    assert_same_network(pasted["model"], build(network, variant, ROW, 3), ROW)
    assert not pasted["model"].training


@pytest.mark.parametrize("norm", ["none", "batch", "layer", "group", "instance", "rms", "switchable"])
def test_classes_of_layers_are_handed_over_as_classes(norm: str, folder: Path, write: Write) -> None:
    folder.joinpath("nets").mkdir()
    folder.joinpath("nets", "user_net_classes.py").write_text(CLASSES)
    network = Network(kind="model", model="nets/user_net_classes.py:Net", activation="gelu")
    code, _ = write(network, Variant(norm=norm), Initialization(scheme="own"), in_shape=IMAGE)
    assert 'sys.path.insert(0, "nets")' in code.text
    assert "act_layer=nn.GELU" in code.text
    assert_same_network(run(code)["model"], build(network, Variant(norm=norm), IMAGE, 3), IMAGE)


def test_what_returns_more_than_logits_is_built_through_normwise(folder: Path, write: Write) -> None:
    folder.joinpath("user_net_tuple.py").write_text(TUPLE)
    network = Network(kind="model", model="user_net_tuple.py:Net")
    code, _ = write(network, Variant(), in_shape=ROW)
    assert 'load_user_model("user_net_tuple.py:Net").build((6,), 3)' in code.text
    assert_same_network(run(code)["model"], build(network, Variant(), ROW, 3), ROW)


def test_images_are_flattened_for_a_model_of_rows_in_another_dtype(folder: Path, write: Write) -> None:
    folder.joinpath("user_net_rows.py").write_text(ROWS)
    network = Network(kind="model", model="user_net_rows.py:make")
    code, _ = write(network, Variant(), in_shape=IMAGE)
    assert "nn.Sequential(nn.Flatten(), make(num_classes=3)).float()" in code.text
    assert_same_network(run(code)["model"], build(network, Variant(), IMAGE, 3), IMAGE)


HARD_CODED = """
from torch import nn
import torch.nn.functional as F

class Net(nn.Module):
    def __init__(self, in_channels, num_classes):
        super().__init__()
        self.conv, self.act = nn.Conv2d(in_channels, 8, 3), nn.ReLU()
        self.hidden, self.head = nn.Linear(8, 16), nn.Linear(16, num_classes)

    def forward(self, x):
        return self.head(F.relu(self.hidden(self.act(self.conv(x)).mean((2, 3)))))

class Normed(nn.Module):
    def __init__(self, in_channels, num_classes):
        super().__init__()
        self.conv, self.bn = nn.Conv2d(in_channels, 8, 3, bias=False), nn.BatchNorm2d(8)
        self.head = nn.Linear(8, num_classes)

    def forward(self, x):
        return self.head(F.relu(self.bn(self.conv(x))).mean((2, 3)))
"""


@pytest.mark.parametrize(
    ("variant", "line"),
    [
        (Variant(), None),
        (Variant(norm="batch"), 'nw.insert(model, "batch", X[:5])'),
        (Variant(norm="group:4", norm_output=False), 'nw.insert(model, "group:4", X[:5])'),
        (Variant(norm="layer", norm_output=True), None),
        (Variant(norm="batch", position="after"), 'nw.insert(model, "batch", X[:5], where="after")'),
        (Variant(norm="weight"), 'build((2, 8, 8), 3, norm="weight")'),
    ],
)
def test_norms_that_were_put_in_are_put_in_again(
    variant: Variant, line: str | None, folder: Path, write: Write
) -> None:
    folder.joinpath("user_net_hard.py").write_text(HARD_CODED)
    network = Network(kind="model", model="user_net_hard.py:Net")
    code, _ = write(network, variant, Initialization(scheme="own"), in_shape=IMAGE)
    wanted = build(network, variant, IMAGE, 3)
    assert line is None or line in code.text
    assert_same_network(run(code)["model"], wanted, IMAGE)


@pytest.mark.parametrize(
    ("norm", "line"),
    [
        ("own", "model = Net"),
        ("none", "model, _ = nw.remove(model, X[:5])"),
        ("batch", "model = Net"),
        ("group:4", 'model, _ = nw.convert(model, ["batch"], "group:4", example=X[:5])'),
        ("instance", 'model, _ = nw.convert(model, ["batch"], "instance", example=X[:5])'),
        ("weight", "model, _ = nw.remove(model, X[:5])"),
    ],
)
def test_norms_that_were_changed_are_changed_again(norm: str, line: str, folder: Path, write: Write) -> None:
    text = HARD_CODED.replace("class Net", "class Other").replace("class Normed", "class Net")
    folder.joinpath("user_net_normed.py").write_text(text)
    network = Network(kind="model", model="user_net_normed.py:Net")
    variant = Variant(norm=norm)
    code, _ = write(network, variant, Initialization(scheme="own"), in_shape=IMAGE)
    assert line in code.text
    assert ("nw." in code.text) == (norm not in ("own", "batch"))
    assert_same_network(run(code)["model"], build(network, variant, IMAGE, 3), IMAGE)


def test_lazy_layers_get_their_shapes_before_they_are_drawn(folder: Path, write: Write) -> None:
    lazy = ROWS.replace("nn.Linear(128, 8)", "nn.LazyLinear(8), nn.LazyBatchNorm1d()").replace(
        ".double()", ""
    )
    folder.joinpath("user_net_lazy.py").write_text(lazy)
    network = Network(kind="model", model="user_net_lazy.py:make")
    for scheme in ("own", "he"):
        code, _ = write(network, Variant(), Initialization(scheme=scheme), in_shape=ROW)
        assert "from user_net_lazy import make" in code.text
        assert_same_network(run(code)["model"], build(network, Variant(), ROW, 3), ROW)


def test_two_classes_with_one_output_are_built_through_normwise(folder: Path, write: Write) -> None:
    folder.joinpath("user_net_logit.py").write_text(ROWS.replace("num_classes)", "1)").replace("128", "6"))
    network = Network(kind="model", model="user_net_logit.py:make")
    code, _ = write(network, Variant(), in_shape=ROW, classes=("no", "yes"))
    assert_same_network(run(code)["model"], build(network, Variant(), ROW, 2), ROW)


def test_a_source_that_is_gone_leaves_a_note(folder: Path, write: Write) -> None:
    code, _ = write(Network(kind="model", model="user_net_gone.py:Net"), Variant(), in_shape=ROW)
    assert code.text == ""
    assert "No code was written: model: the file must exist" in code.note
