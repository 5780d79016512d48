from __future__ import annotations

from pathlib import Path

import pytest
import torch

from normwise.data import known, load, names as names_module
from normwise.errors import ArgumentError, DataError


@pytest.mark.parametrize(
    ("name", "kind", "inputs", "rows", "outputs"),
    [
        ("digits", "image", "8×8 grey images", 1797, 10),
        ("breast_cancer", "table", "30 numeric columns", 569, 2),
        ("wine", "table", "13 numeric columns", 178, 3),
        ("diabetes", "table", "10 numeric columns", 442, 1),
        ("mnist5k", "image", "28×28 grey images", 5000, 10),
    ],
)
def test_embedded_data(name: str, kind: str, inputs: str, rows: int, outputs: int) -> None:
    data = load(name)
    assert (data.name, data.kind, data.inputs, data.rows) == (name, kind, inputs, rows)
    split = data.split(0)
    parts = (split.train, split.validation, split.test)
    assert sum(len(part.inputs) for part in parts) == rows
    for part in parts:
        assert part.inputs.shape == (len(part.targets), *split.in_shape)
        assert part.inputs.is_contiguous()
        assert torch.isfinite(part.inputs).all()
    assert split.out_features == outputs
    if data.task == "classification":
        assert all(set(part.targets.tolist()) == set(range(outputs)) for part in parts)
        assert (split.target_mean, split.target_std) == (0.0, 1.0)
        # Inputs and labels that belong together are told apart by the nearest class mean alone.
        means = torch.stack(
            [split.train.inputs[split.train.targets == label].mean(0).flatten() for label in range(outputs)]
        )
        nearest = torch.cdist(split.test.inputs.flatten(1), means).argmin(1)
        assert (nearest == split.test.targets).double().mean() > 0.7
    else:
        assert split.train.targets.shape == (266,)
        assert split.train.targets.dtype == torch.float32


def test_every_known_name_has_a_line() -> None:
    assert list(known()) == ["digits", "breast_cancer", "wine", "diabetes", "mnist5k", "fashion-mnist"]
    assert all(line for line in known().values())


def test_spelling_is_forgiven() -> None:
    assert load("Breast-Cancer").name == "breast_cancer"


def test_fashion_mnist_names_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names_module, "FASHION_FOLDER", tmp_path / "absent")
    with pytest.raises(DataError, match="apt install dataset-fashion-mnist"):
        load("fashion-mnist")


def test_named_data_brings_its_own_target() -> None:
    with pytest.raises(ArgumentError, match="wine is known by name"):
        load("wine", target="alcohol")
    with pytest.raises(DataError, match="this target is a label"):
        load("wine", task="regression")
