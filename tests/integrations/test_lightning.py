"""The callback against a stand-in for Lightning, which calls it as a trainer does."""

import math
import sys
import types
from typing import Any

import pytest
import torch
from torch import nn

from normwise.errors import ArgumentError, MissingPackageError
from normwise.integrations import lightning_callback


class Callback:
    """Lightning's base class."""


@pytest.fixture(params=["lightning.pytorch", "pytorch_lightning"])
def package(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """One of Lightning's two packages."""
    module = types.ModuleType(request.param)
    module.Callback = Callback  # type: ignore[attr-defined]
    for name in ("lightning", "lightning.pytorch", "pytorch_lightning"):
        monkeypatch.delitem(sys.modules, name, raising=False)
        monkeypatch.setattr(sys, "meta_path", [_Hidden(name), *sys.meta_path])
    if request.param.startswith("lightning."):
        parent = types.ModuleType("lightning")
        parent.__path__ = []
        monkeypatch.setitem(sys.modules, "lightning", parent)
    monkeypatch.setitem(sys.modules, request.param, module)
    return module


class _Hidden:
    """Hides a package that may be installed."""

    def __init__(self, name: str) -> None:
        self._name = name

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if name == self._name:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


class Trainer:
    """A trainer whose optimizer takes closures, as Lightning's does."""

    def __init__(self, model: nn.Module, optimizers: int = 1) -> None:
        self.model = model
        self.optimizers = [torch.optim.SGD(model.parameters(), 0.1) for _ in range(optimizers)]
        self.precision_plugin = types.SimpleNamespace(scaler=None)
        self.strategy = types.SimpleNamespace(model=model)

    def fit(self, callback: Any, steps: int, fails: bool = False) -> None:
        callback.on_train_start(self, self.model)
        try:
            for _ in range(steps):
                self.optimizers[0].step(self._closure)
            if fails:
                raise ZeroDivisionError
        except ZeroDivisionError as error:
            callback.on_exception(self, self.model, error)
            raise
        callback.on_train_end(self, self.model)

    def _closure(self) -> torch.Tensor:
        self.optimizers[0].zero_grad()
        loss = self.model(torch.randn(8, 6)).square().mean()
        loss.backward()
        return loss


def hooks(model: nn.Module) -> int:
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())


@pytest.fixture
def model() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))


@pytest.mark.usefixtures("package")
def test_a_fit_is_watched_from_start_to_end(model: nn.Module) -> None:
    callback = lightning_callback(overhead=math.inf, every=1)
    assert isinstance(callback, Callback)
    Trainer(model).fit(callback, 3)
    assert [record.step for record in callback.monitor.steps] == [0, 1, 2]
    assert callback.monitor.steps[0]["0"].activation == "relu"
    assert hooks(model) == 0


@pytest.mark.usefixtures("package")
def test_a_fit_that_fails_leaves_the_model_as_it_was(model: nn.Module) -> None:
    callback = lightning_callback(overhead=math.inf, every=1)
    trainer = Trainer(model)
    with pytest.raises(ZeroDivisionError):
        trainer.fit(callback, 2, fails=True)
    assert hooks(model) == 0
    assert not trainer.optimizers[0]._optimizer_step_post_hooks


@pytest.mark.usefixtures("package")
def test_more_than_one_optimizer_is_refused(model: nn.Module) -> None:
    with pytest.raises(ArgumentError, match=r"the fit must have one optimizer. Got 2"):
        Trainer(model, optimizers=2).fit(lightning_callback(), 1)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("lightning", "pytorch_lightning"):
        monkeypatch.delitem(sys.modules, name, raising=False)
        monkeypatch.setattr(sys, "meta_path", [_Hidden(name), *sys.meta_path])
    with pytest.raises(MissingPackageError, match=r"normwise\[lightning\]"):
        lightning_callback()
