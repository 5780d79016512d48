"""From a user's file and the name of data to a subject whose layers are called as in the source."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch

from normwise.data import load
from normwise.diagnose.api import examine
from normwise.diagnose.choices import LOSSES, Training
from normwise.diagnose.from_files import (
    check_loss,
    defined_at,
    parsed_arguments,
    setup_of,
    with_data,
    with_shape,
)
from normwise.errors import NormwiseError
from normwise.graph import trace
from normwise.models import UserModel, load_user_model

SOURCE = """
from torch import nn

class Net(nn.Module):
    def __init__(self, in_features=20, out_features=10, width=8):
        super().__init__()
        self.first, self.head = nn.Linear(in_features, width), nn.Linear(width, out_features)

    def forward(self, x):
        return self.head(self.first(x).relu())

class One(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.head = nn.Linear(30, 8), nn.Linear(8, 1)

    def forward(self, x):
        return self.head(self.first(x).relu())

class Probability(One):
    def forward(self, x):
        return super().forward(x).sigmoid()

class Pair(One):
    def forward(self, x):
        return super().forward(x), x

class Frozen(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.norm, self.head = nn.LazyLinear(8), nn.BatchNorm1d(8).eval(), nn.Linear(8, 3)

    def forward(self, x):
        return self.head(self.norm(self.first(x)))

def build(width=8):
    return nn.Sequential(nn.Linear(20, width), nn.ReLU(), nn.Linear(width, 3))
"""


@pytest.fixture
def user(tmp_path: Path) -> Any:
    (tmp_path / "net.py").write_text(SOURCE)

    def named(name: str, **arguments: str) -> UserModel:
        return load_user_model(f"{tmp_path / 'net.py'}:{name}", arguments)

    return named


def test_names_of_layers_are_those_of_the_source_though_images_are_flattened(user: Any) -> None:
    found = with_data(user("Net"), load("digits"), Training(steps=3))
    subject = found.subject
    assert [name for name, _ in subject.model.named_children()] == ["first", "head"]
    assert subject.inputs.shape == (256, 1, 8, 8)
    assert copy.deepcopy(subject.model)(subject.inputs).shape == (256, 10)
    assert subject.loss is LOSSES["cross_entropy"]
    assert [call.module for call in trace(subject.model, subject.inputs).calls] == ["", "first", "head"]
    assert "images of 1 × 8 × 8 are flattened" in found.notes[-1]
    assert "1,079 training rows" in subject.title


def test_one_output_is_a_pair_of_logits(user: Any) -> None:
    found = with_data(user("One"), load("breast_cancer"), Training(steps=3))
    output = found.subject.model(found.subject.inputs)
    assert output.shape == (256, 2)
    assert torch.equal(output[:, 0], torch.zeros(256))
    assert "(0, z)" in found.notes[-1]


def test_one_output_behind_a_sigmoid_is_a_probability_and_trained_as_one(user: Any) -> None:
    found = with_data(user("Probability"), load("breast_cancer"), Training(steps=3))
    subject = found.subject
    output, targets = subject.model(subject.inputs), subject.targets
    assert torch.allclose(output.sum(dim=1), torch.ones(256))
    assert subject.loss is LOSSES["bce"]
    assert targets is not None
    expected = torch.nn.functional.binary_cross_entropy(output[:, 1], targets.float())
    assert torch.allclose(subject.loss(output, targets), expected)
    assert "(1 − p, p)" in found.notes[-1]
    assert "softmax-before-cross-entropy" not in [
        each.rule for each in examine(subject, select=["NW1"]).findings
    ]
    # Said to be logits, they are taken as such, and the fault is found.
    wrong = with_data(user("Probability"), load("breast_cancer"), Training(steps=3, loss="bce_with_logits"))
    assert wrong.subject.model(subject.inputs)[:, 0].tolist() == [0.0] * 256
    found_rules = [each.rule for each in examine(wrong.subject, select=["NW1"]).findings]
    assert "softmax-before-cross-entropy" in found_rules


def test_each_seed_draws_its_own_weights_and_the_first_is_the_subject(user: Any) -> None:
    subject = with_data(user("Net"), load("wine"), Training(steps=3, seed=4)).subject
    assert subject.build is not None
    weights = [subject.build(seed).first.weight for seed in (4, 4, 5)]  # type: ignore[union-attr]
    assert torch.equal(weights[0], subject.model.first.weight)  # type: ignore[union-attr, arg-type]
    assert torch.equal(weights[0], weights[1])  # type: ignore[arg-type]
    assert not torch.equal(weights[0], weights[2])  # type: ignore[arg-type]


def test_the_training_is_as_it_was_asked_for(user: Any) -> None:
    asked = Training(optimizer="sgd", lr=0.5, weight_decay=0.1, batch_size=7, loss="mse", steps=3)
    setup = setup_of(with_data(user("Net"), load("wine"), asked))
    assert (setup.optimizer.name, setup.optimizer.lr, setup.batch_size) == ("SGD", 0.5, 7)
    assert dict(setup.optimizer.options) == {"momentum": 0.9, "weight_decay": 0.1}
    outputs = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    # Class numbers are one-hot rows for a loss of numbers: one of six entries is off by 1.
    assert float(setup.loss(outputs, torch.tensor([0, 2]))) == pytest.approx(1 / 6)


def test_a_model_alone_gets_random_numbers_and_an_optimizer_only_if_asked(user: Any) -> None:
    subject = with_shape(user("build"), (20,), 10, Training()).subject
    assert (subject.made_up, subject.setup, subject.data, subject.model.training) == (True, None, None, True)
    assert subject.targets is not None
    assert subject.targets.dtype == torch.int64
    asked = with_shape(user("build"), (20,), 10, Training(lr=0.1)).subject
    assert asked.setup is not None
    assert asked.setup.optimizer.lr == 0.1
    numbers = with_shape(user("One"), (30,), 10, Training()).subject
    assert numbers.targets is not None
    assert numbers.targets.shape == (32, 1)
    several = with_shape(user("Pair"), (30,), 10, Training()).subject
    assert (several.targets, several.loss) == (None, None)


def test_modes_stay_as_the_source_has_them_and_lazy_layers_get_their_shapes(user: Any) -> None:
    model = with_shape(user("Frozen"), (20,), 10, Training()).subject.model
    assert (model.training, model.norm.training) == (True, False)  # type: ignore[union-attr]
    assert model.first.weight.shape == (8, 20)  # type: ignore[union-attr]
    assert model.norm.num_batches_tracked == 0  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("name", "data", "training", "words"),
    [
        ("One", "digits", {}, "net.py:One"),
        ("Net", "diabetes", {"loss": "cross_entropy"}, "--loss cross_entropy needs classes"),
    ],
)
def test_what_does_not_go_together(user: Any, name: str, data: str, training: Any, words: str) -> None:
    with pytest.raises(NormwiseError) as error:
        with_data(user(name), load(data), Training(**training))
    assert words in str(error.value)


def test_a_shape_that_the_model_does_not_take(user: Any) -> None:
    with pytest.raises(NormwiseError) as error:
        with_shape(user("build"), (21,), 10, Training())
    assert "a forward pass of 32 × 21" in str(error.value)


def test_a_loss_that_the_outputs_do_not_fit(user: Any) -> None:
    model = user("One").plain((30,), 1)
    with pytest.raises(NormwiseError) as error:
        check_loss(model, "cross_entropy", torch.zeros(4, 30), torch.tensor([0, 1, 2, 3]))
    assert "--loss cross_entropy must take what the model gives" in str(error.value)
    check_loss(model, "mse", torch.zeros(4, 30), torch.zeros(4))


@pytest.mark.parametrize(
    "wrong",
    [
        {"batch_size": 0},
        {"steps": 0},
        {"seed": -1},
        {"lr": 0.0},
        {"lr": float("nan")},
        {"weight_decay": -1.0},
        {"loss": "crossentropy"},
        {"optimizer": "adamax"},
    ],
)
def test_a_training_that_cannot_be(wrong: dict[str, Any]) -> None:
    with pytest.raises(NormwiseError, match="diagnose"):
        Training(**wrong)


def test_the_line_of_the_class_or_of_the_builder(
    user: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GITHUB_WORKSPACE", raising=False)
    lines = SOURCE.splitlines()
    for name, shape, start in (("Net", (20,), "class Net"), ("build", (20,), "def build")):
        file, line = defined_at(with_shape(user(name), shape, 10, Training()))
        assert file == "net.py"
        assert lines[line - 1].startswith(start)
    monkeypatch.setenv("GITHUB_WORKSPACE", str(tmp_path.parent))
    file, _ = defined_at(with_shape(user("Net"), (20,), 10, Training()))
    assert file == f"{tmp_path.name}/net.py"


def test_arguments_have_names() -> None:
    assert parsed_arguments(["width=8", "norm = a=b"]) == {"width": "8", "norm": "a=b"}
    for wrong in ("width", "=8", "a b=1"):
        with pytest.raises(NormwiseError, match="name=value"):
            parsed_arguments([wrong])
