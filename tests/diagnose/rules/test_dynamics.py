"""Rules of data and dynamics: fault and layer are named, the clean twin gives nothing, the remedy takes it away."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from functools import lru_cache

import pytest
import torch
from torch import Tensor, nn

import normwise as nw
from normwise.data import load
from normwise.diagnose.api import chosen, examine
from normwise.diagnose.measure import default_loss
from normwise.diagnose.subject import Data, OptimizerChoice, Setup, Subject
from normwise.results.diagnosis import Diagnosis, Finding


@lru_cache(maxsize=1)
def digits() -> Data:
    split = load("digits").split(0)
    train, held_out = split.train, split.validation
    return Data(train.inputs, train.targets, held_out.inputs, held_out.targets, "classification", 10)


def network(depth: int = 4, activation: str = "relu", *, scale: float = 1.0, **options: object) -> nn.Module:
    torch.manual_seed(0)
    model = nw.mlp((1, 8, 8), 10, widths=(32,) * depth, activation=activation, **options)
    nw.initialize_(model, "he", seed=0, scale=scale)
    return model


def setup(
    model: nn.Module,
    data: Data,
    optimizer: str = "SGD",
    lr: float = 0.05,
    *,
    batch: int = 32,
    decay: float = 0.0,
) -> Setup:
    options = ((("momentum", 0.9),) if optimizer == "SGD" else ()) + (("weight_decay", decay),)
    choice = OptimizerChoice(optimizer, lr, options)
    return Setup(model, choice, batch, default_loss(data.targets), example=data.inputs[:batch])


def examined(made: Setup, data: Data, steps: int = 120) -> Diagnosis:
    rows = made.batch_size
    inputs, targets = data.inputs[:rows], data.targets[:rows]
    return examine(Subject(made.model, "net", inputs, targets, made.loss, setup=made, data=data, steps=steps))


def first(diagnosis: Diagnosis) -> Finding:
    assert diagnosis.findings, diagnosis.vitals
    return diagnosis.findings[0]


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "gelu", "silu", "tanh"])
@pytest.mark.parametrize("norm", ["none", "batch", "layer"])
def test_what_trains_well_gives_nothing(activation: str, norm: str) -> None:
    diagnosis = examined(setup(network(3, activation, norm=norm), digits()), digits())
    assert diagnosis.findings == ()
    assert [vital.answer for vital in diagnosis.vitals] == ["no", "no", "not measured"]
    assert all(check.status in ("clear", "not checked") for check in diagnosis.checks)


@pytest.mark.parametrize(
    ("optimizer", "lr", "code"),
    [
        ("SGD", 1e-6, "NW507"),
        ("SGD", 1e-4, "NW507"),
        ("SGD", 5.0, "NW506"),
        ("SGD", 50.0, "NW506"),
        ("Adam", 1e-6, "NW507"),
        ("Adam", 1.0, "NW506"),
        ("Adam", 10.0, "NW506"),
    ],
)
def test_the_learning_rate(optimizer: str, lr: float, code: str) -> None:
    made = setup(network(), digits(), optimizer, lr)
    found = first(examined(made, digits()))
    assert (found.code, found.layer) == (code, "")
    fixed = fix(made, found)
    assert (fixed.optimizer.lr > lr) == (code == "NW507")


def fix(made: Setup, found: Finding) -> Setup:
    (rule,) = chosen([found.code], [])
    assert rule.fix is not None
    return rule.fix(made, found)


@pytest.mark.parametrize(
    ("activation", "scale"), [("relu", 0.05), ("relu", 10.0), ("gelu", 0.1), ("tanh", 0.05)]
)
def test_weights_of_a_wrong_size(activation: str, scale: float) -> None:
    made = setup(network(activation=activation, scale=scale), digits())
    found = first(examined(made, digits()))
    assert found.code == "NW505"
    assert {found.layer, *found.also} == {f"blocks.{i}.weighted" for i in range(4)}
    assert {each.code for each in found.dependents} <= {"NW502", "NW503", "NW506", "NW507", "NW509", "NW512"}
    assert examined(fix(made, found), digits()).findings == ()


def embedded(scale: float) -> nn.Module:
    table = nn.Embedding(20, 8)
    nn.init.normal_(table.weight, std=scale)
    return table


def recurrent(kind: type[nn.Module], gain: float, bias: float = 0.0) -> nn.Module:
    cell = kind(8, 16)
    for name, parameter in cell.named_parameters():
        if name.startswith("weight_hh"):
            nn.init.normal_(parameter, std=gain / 4)
        elif name.startswith("bias"):
            nn.init.constant_(parameter, bias)
    return cell


@pytest.mark.parametrize(
    ("layer", "named"),
    [
        (embedded(1.0), False),
        (embedded(100.0), True),
        (recurrent(nn.LSTM, 1.0), False),
        (recurrent(nn.LSTM, 8.0), True),
        (recurrent(nn.GRU, 1.0, bias=-20.0), True),
        (recurrent(nn.LSTMCell, 8.0), True),
    ],
)
def test_embeddings_and_recurrent_layers_of_a_wrong_size(layer: nn.Module, named: bool) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.head = layer, nn.LazyLinear(3)

        def forward(self, x: Tensor) -> Tensor:
            given = x.abs().long() % 20 if isinstance(self.layer, nn.Embedding) else x
            made = self.layer(given)
            made = made[0] if isinstance(made, tuple) else made
            out: Tensor = self.head(made.flatten(1))
            return out

    torch.manual_seed(0)
    model, x = Net(), torch.randn(32, 8)
    model(x)
    found = nw.diagnose(model, (x, torch.randint(3, (32,))), select=["NW505"]).findings
    assert [f.layer for f in found if "usual" in f.message] == (["layer"] if named else [])


def test_one_layer_of_a_wrong_size_is_the_one_that_is_named() -> None:
    model = network()
    with torch.no_grad():
        model.blocks[2].weighted.weight.mul_(1e3)
    found = first(examined(setup(model, digits()), digits()))
    assert (found.code, found.layer, found.also) == ("NW505", "blocks.2.weighted", ())


@pytest.mark.parametrize("value", [0.0, 0.05])
def test_units_that_begin_alike(value: float) -> None:
    model = network()
    nn.init.constant_(model.blocks[1].weighted.weight, value)
    made = setup(model, digits())
    found = first(examined(made, digits()))
    assert (found.code, found.layer) == ("NW513", "blocks.1.weighted")
    assert examined(fix(made, found), digits()).findings == ()


def test_a_last_layer_of_zeros_is_healthy() -> None:
    model = network()
    nn.init.zeros_(model.output.weight)
    assert examined(setup(model, digits()), digits()).findings == ()


def test_dead_units() -> None:
    model = network()
    nn.init.constant_(model.blocks[1].weighted.bias, -10.0)
    found = first(examined(setup(model, digits()), digits()))
    assert (found.code, found.layer) == ("NW503", "blocks.1.weighted")
    assert found.evidence[0].value == 100.0
    assert "from the first step on" in found.message


def test_saturated_units() -> None:
    model = network(6, "sigmoid", scale=300.0)
    found = examined(setup(model, digits()), digits(), 60)
    codes = {each.code for root in found.findings for each in (root, *root.dependents)}
    assert "NW504" in codes


@pytest.mark.parametrize("depth", [6, 10])
def test_vanishing_gradients_and_the_norms_that_mend_them(depth: int) -> None:
    made = setup(network(depth, "sigmoid"), digits())
    diagnosis = examined(made, digits())
    found = first(diagnosis)
    assert (found.code, found.layer) == ("NW501", "blocks.0.weighted")
    assert found.evidence[0].value is not None
    assert found.evidence[0].value > 1.5
    assert {"NW509"} <= {each.code for each in found.dependents}
    assert diagnosis.vitals[0].answer == "yes"
    assert "NW501" not in {each.code for each in examined(fix(made, found), digits()).findings}


def test_exploding_gradients_without_a_training() -> None:
    inputs = 1e-2 * torch.randn(64, 32, generator=torch.Generator().manual_seed(0))

    def findings(gain: float) -> set[str]:
        scaled = nn.Sequential(*[nn.Linear(32, 32) for _ in range(12)])
        parts = [part for layer in scaled for part in (layer, nn.LeakyReLU(0.5))]
        for layer in scaled:
            nn.init.orthogonal_(layer.weight, gain=gain)
            nn.init.zeros_(layer.bias)
        whole = nn.Sequential(*parts, nn.Linear(32, 2))
        seen = nw.diagnose(whole, (inputs, torch.arange(64) % 2))
        return {each.code for root in seen.findings for each in (root, *root.dependents)}

    assert findings(1.3) == set()
    assert findings(4.0) >= {"NW502"}


def scaled_inputs(change: Callable[[Tensor], Tensor]) -> Data:
    data = digits()
    return dataclasses.replace(
        data, inputs=change(data.inputs), validation_inputs=change(data.validation_inputs)
    )


def rows(change: Callable[[Tensor], Tensor]) -> Data:
    return scaled_inputs(lambda x: change(x.flatten(1)[:, 1:7].clone()))


def table(width: int = 6) -> nn.Module:
    torch.manual_seed(0)
    return nw.mlp((width,), 10, widths=(32, 32))


def test_unscaled_features_are_the_root_of_what_follows() -> None:
    data = scaled_inputs(lambda x: 1000 * x)
    made = setup(network(), data)
    found = first(examined(made, data))
    assert (found.code, found.layer) == ("NW401", "")
    assert "NW512" in {each.code for each in found.dependents}
    assert examined(fix(made, found), data).vitals[0].answer == "no"


def test_a_column_in_another_unit_is_named() -> None:
    def cents(x: Tensor) -> Tensor:
        x[:, 2] *= 1000
        return x

    assert "column 2 varies" in first(examined(setup(table(), rows(cents)), rows(cents))).message
    assert not [
        f
        for f in examined(setup(table(), rows(lambda x: x)), rows(lambda x: x)).findings
        if f.code == "NW401"
    ]


def regression(change: Callable[[Tensor], Tensor]) -> Data:
    split = load("diabetes").split(0)
    train, held_out = split.train, split.validation
    return Data(
        train.inputs, change(train.targets), held_out.inputs, change(held_out.targets), "regression", 0
    )


def test_unscaled_targets_are_the_root_of_what_follows() -> None:
    torch.manual_seed(0)
    data = regression(lambda y: 152 + 77 * y)
    made = setup(nw.mlp((10,), 1, widths=(32, 32)), data, "Adam", 1e-3)
    found = first(examined(made, data))
    assert (found.code, found.layer) == ("NW406", "")
    assert "mean 152 and standard deviation 77" in found.message
    fixed = fix(made, found)
    assert fixed.model(data.inputs).mean() > 100  # in the units of the target
    assert not [f for f in examined(fixed, data).findings if f.code == "NW406"]
    scaled = regression(lambda y: y)
    made = setup(nw.mlp((10,), 1, widths=(32, 32)), scaled, "Adam", 1e-3)
    assert not [f for f in examined(made, scaled).findings if f.code == "NW406"]


def test_constant_columns_and_values_that_are_not_finite() -> None:
    def constant(x: Tensor) -> Tensor:
        x[:, 3] = 2.0
        return x

    codes = {f.code: f for f in examined(setup(table(), rows(constant)), rows(constant)).findings}
    assert codes["NW402"].message == "1 of 6 input columns are constant over the training part: 3"

    def broken(x: Tensor) -> Tensor:
        x[5, 1] = math.nan
        return x

    found = first(examined(setup(table(), rows(broken)), rows(broken)))
    assert found.code == "NW405"
    assert found.message.startswith("1 of the training inputs")


def test_label_imbalance() -> None:
    data = digits()
    keep = (data.targets == 0) | (torch.arange(len(data.targets)) % 60 == 0)
    few = dataclasses.replace(data, inputs=data.inputs[keep], targets=data.targets[keep])
    codes = [finding.code for finding in examined(setup(network(2), few), few, 60).findings]
    assert "NW403" in codes


@pytest.mark.parametrize(("size", "flagged"), [(4, True), (32, False)])
def test_small_batches_before_batch_norm(size: int, flagged: bool) -> None:
    made = setup(network(2, norm="batch"), digits(), lr=0.01, batch=size)
    found = {finding.code: finding for finding in examined(made, digits()).findings}
    assert ("NW404" in found) == flagged
    if flagged:
        assert (found["NW404"].layer, found["NW404"].also) == ("blocks.0.norm", ("blocks.1.norm",))
        assert isinstance(fix(made, found["NW404"]).model.blocks[0].norm, nn.GroupNorm)
    assert examined(setup(network(2, norm="group"), digits(), lr=0.01, batch=size), digits()).findings == ()


@pytest.mark.parametrize(("optimizer", "lr", "decay"), [("SGD", 0.05, 5.0), ("AdamW", 2e-3, 200.0)])
def test_decay_that_pulls_harder_than_the_data(optimizer: str, lr: float, decay: float) -> None:
    made = setup(network(), digits(), optimizer, lr, decay=decay)
    found = first(examined(made, digits()))
    assert found.code == "NW511"
    assert fix(made, found).optimizer.weight_decay == decay / 100


def test_dropout_that_leaves_nothing() -> None:
    made = setup(network(dropout=0.9), digits())
    found = first(examined(made, digits()))
    assert (found.code, found.layer) == ("NW511", "blocks.0.dropout")
    assert fix(made, found).model.blocks[2].dropout.p == 0.2


def test_samples_learned_by_heart() -> None:
    data = digits()
    few = dataclasses.replace(data, inputs=data.inputs[:30], targets=data.targets[:30])
    assert first(examined(setup(network(2), few, "Adam", 0.01, batch=16), few, 300)).code == "NW510"
    order = torch.randperm(len(data.targets), generator=torch.Generator().manual_seed(0))
    shuffled = dataclasses.replace(data, targets=data.targets[order])
    assert {f.code for f in examined(setup(network(2), shuffled), shuffled, 300).findings} & {
        "NW509",
        "NW510",
    }


def test_a_loss_of_the_wrong_sign_diverges() -> None:
    made = setup(network(), digits(), lr=0.01)
    loss = made.loss
    wrong = dataclasses.replace(made, loss=lambda output, targets: -loss(output, targets))
    codes = {each.code for root in examined(wrong, digits()).findings for each in (root, *root.dependents)}
    assert "NW512" in codes


def test_other_draws_are_trained_where_there_is_a_builder() -> None:
    made = setup(network(2), digits())
    subject = Subject(
        made.model,
        "net",
        digits().inputs[:32],
        digits().targets[:32],
        made.loss,
        setup=made,
        data=digits(),
        build=lambda seed: network(2, scale=1 + seed / 100),
        steps=60,
    )
    vital = examine(subject).vitals[2]
    assert vital.answer == "no"
    assert "3 other draws come" in vital.detail
