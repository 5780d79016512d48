"""A user's model that takes no normalization: every variant by surgery, each with its places in the plan."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import normwise as nw
from normwise.compare.check import Prepared, prepare
from normwise.compare.network import build, initialize
from normwise.compare.network_spec import Initialization, Network
from normwise.compare.spec import make_spec
from normwise.compare.variant import Variant
from normwise.errors import ArgumentError, UnknownNameError
from normwise.layers.normalized import NormalizedConv2d, NormalizedLinear

PLAIN = """
from torch import nn

class Net(nn.Module):
    def __init__(self, in_channels, num_classes):
        super().__init__()
        self.conv, self.act = nn.Conv2d(in_channels, 8, 3), nn.ReLU()
        self.hidden, self.head = nn.Linear(8, 16), nn.Linear(16, num_classes)

    def forward(self, x):
        return self.head(self.hidden(self.act(self.conv(x)).mean((2, 3))).relu())
"""

NORMED = """
from torch import nn

class Net(nn.Module):
    def __init__(self, in_channels, num_classes):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(in_channels, 8, 3, bias=False), nn.BatchNorm2d(8)
        self.conv2, self.bn2 = nn.Conv2d(8, 8, 3, bias=False), nn.BatchNorm2d(8)
        self.head = nn.Linear(8, num_classes)

    def forward(self, x):
        x = self.bn1(self.conv1(x)).relu()
        return self.head(self.bn2(self.conv2(x)).relu().mean((2, 3)))
"""

MIXED = NORMED.replace("nn.BatchNorm2d(8)\n        self.head", "nn.GroupNorm(2, 8)\n        self.head")

UNKNOWN = """
from torch import nn

class Net(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.head = nn.Linear(64, num_classes)

    def forward(self, x):
        return self.head(x.flatten(1))
"""

SHAPE = (1, 8, 8)


@pytest.fixture
def model(tmp_path: Path, request: pytest.FixtureRequest) -> Network:
    """A user's model; the test's parameter is its source."""
    file = tmp_path / "net.py"
    file.write_text(getattr(request, "param", PLAIN))
    return Network(kind="model", model=f"{file}:Net")


def asked(network: Network, **fields: Any) -> Prepared:
    return prepare(make_spec({"data": "digits", "networks": [network.model_dump()], "steps": 5, **fields}))


def told(prepared: Prepared) -> str:
    return "\n".join(prepared.notes[prepared.plans[0].ground.name])


def names(prepared: Prepared) -> list[str]:
    return [variant.name for variant in prepared.plans[0].variants]


def test_a_plain_model_gets_the_usual_variants(model: Network) -> None:
    prepared = asked(model)
    assert names(prepared) == ["none", "batch", "layer", "group", "instance", "rms", "weight"]
    assert prepared.plans[0].baseline == "none"
    notes = told(prepared)
    places = "put in behind conv, hidden (2 places), before the activation"
    assert f"batch, layer, group, rms: {places}; left alone: head (it gives the model's outputs)." in notes
    assert "instance: put in behind conv, before the activation; left alone: hidden (Instance" in notes


def test_a_variants_norms_stand_where_the_plan_says(model: Network) -> None:
    made = build(model, Variant(norm="batch"), SHAPE, 10)
    assert [type(m) for m in (made.conv, made.hidden, made.head)] == [
        NormalizedConv2d,
        NormalizedLinear,
        nn.Linear,
    ]
    after = build(model, Variant(norm="batch", position="after"), SHAPE, 10)
    assert isinstance(after.act, nn.Sequential)
    assert isinstance(after.act[1], nw.BatchNorm2d)
    output = build(model, Variant(norm="layer", norm_output=True), SHAPE, 10)
    assert isinstance(output.head, NormalizedLinear)
    weights = build(model, Variant(norm="weight"), SHAPE, 10)
    assert hasattr(weights.hidden, "parametrizations")
    assert not hasattr(weights.head, "parametrizations")


@pytest.mark.parametrize("scheme", ["own", "he", "orthogonal"])
@pytest.mark.parametrize("model", [PLAIN, NORMED], indirect=True)
def test_all_variants_start_from_the_same_weights(model: Network, scheme: str) -> None:
    batch = torch.randn(16, *SHAPE, generator=torch.Generator().manual_seed(0))
    drawn = []
    for norm in ("none", "batch", "group", "layer"):
        variant = Variant(norm=norm)
        made = build(model, variant, SHAPE, 10, seed=3)
        initialize(made, variant, model, Initialization(scheme=scheme), seed=3, batch=batch)
        drawn.append(
            [m.weight.detach().clone() for m in made.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
        )
    for other in drawn[1:]:
        assert all(torch.equal(a, b) for a, b in zip(drawn[0], other, strict=True))


def test_the_variance_that_lsuv_sets_is_that_of_the_layer_without_its_norm(model: Network) -> None:
    batch = 5 * torch.randn(64, *SHAPE, generator=torch.Generator().manual_seed(0))
    drawn = []
    for norm in ("none", "batch"):
        variant = Variant(norm=norm)
        made = build(model, variant, SHAPE, 10)
        initialize(made, variant, model, Initialization(scheme="lsuv"), seed=0, batch=batch)
        drawn.append(made.conv.weight.detach())
    torch.testing.assert_close(drawn[0], drawn[1])


@pytest.mark.parametrize("model", [NORMED], indirect=True)
def test_norms_that_a_model_brings_are_converted_and_taken_out(model: Network) -> None:
    prepared = asked(model)
    assert names(prepared) == ["own", "none", "layer", "group", "instance", "rms", "weight"]
    assert prepared.plans[0].baseline == "own"
    notes = told(prepared)
    assert "own: the model as it is, with Batch Normalization." in notes
    assert "none, weight: without bn1, bn2 (2 places)." in notes
    assert "layer, group, instance, rms: in the place of bn1, bn2 (2 places)." in notes
    assert type(build(model, Variant(norm="own"), SHAPE, 10).bn1) is nn.BatchNorm2d
    assert type(build(model, Variant(norm="batch"), SHAPE, 10).bn1) is nn.BatchNorm2d
    plain = build(model, Variant(), SHAPE, 10)
    assert type(plain.bn1) is nn.Identity
    assert plain.conv1.bias is not None
    group = build(model, Variant(norm="group:4"), SHAPE, 10)
    assert (type(group.bn2), group.bn2.num_groups) == (nw.GroupNorm, 4)


@pytest.mark.parametrize("model", [MIXED], indirect=True)
def test_several_kinds_become_one(model: Network) -> None:
    assert names(asked(model))[:3] == ["own", "none", "batch"]
    made = build(model, Variant(norm="batch"), SHAPE, 10)
    assert isinstance(made.bn1, nn.BatchNorm2d)
    assert isinstance(made.bn2, nn.BatchNorm2d)


@pytest.mark.parametrize("model", [NORMED], indirect=True)
def test_what_names_no_normalization_leaves_the_model_its_own(model: Network) -> None:
    prepared = asked(model, variants=[{}, {"l2": 1e-3}])
    assert names(prepared) == ["own", "own + L2 0.001"]
    assert prepared.plans[0].baseline == "own"
    named = asked(model, variants=[{"norm": "none"}, {"norm": "none", "l2": 1e-3}])
    assert names(named) == ["none", "L2 0.001"]
    assert prepared.asked.identity("data") != named.asked.identity("data")
    regularized = asked(model, study="init")
    assert names(regularized)[:2] == ["own", "own + xavier"]


def test_own_is_none_where_a_model_brings_nothing(model: Network) -> None:
    assert names(asked(model, variants=[{}, {"l2": 1e-3}])) == ["none", "L2 0.001"]
    with pytest.raises(ArgumentError, match="'own' differs from 'none' where a model brings norms"):
        asked(model, norms="own,none")


@pytest.mark.parametrize("model", [UNKNOWN], indirect=True)
def test_without_a_place_for_a_norm_penalties_are_compared(model: Network) -> None:
    assert names(asked(model)) == ["none", "decay 0.01", "L2 0.001", "L1 0.0001"]
    with pytest.raises(ArgumentError, match=r"can take 'batch'. Got head \(it gives the model's outputs\)"):
        asked(model, norms="none,batch")


@pytest.mark.parametrize("model", [NORMED], indirect=True)
@pytest.mark.parametrize(
    ("variant", "words"),
    [
        ({"norm": "batch", "position": "after"}, "the model itself must decide"),
        ({"norm": "switchable"}, "norms of a model can become batch, batch_renorm, ghost, group"),
        ({"norm": "evonorm_b0"}, "norms of a model can become"),
    ],
)
def test_what_surgery_cannot_do_is_refused_by_name(
    model: Network, variant: dict[str, str], words: str
) -> None:
    with pytest.raises(ArgumentError, match=words):
        asked(model, variants=[{"norm": "own"}, variant])


def test_own_is_for_a_model_of_the_users(model: Network) -> None:
    with pytest.raises(ArgumentError, match="there must be two variants"):
        prepare(make_spec({"data": "wine", "norms": "own,batch", "networks": [{"kind": "mlp"}]}))
    with pytest.raises(UnknownNameError, match="Did you mean 'own'"):
        make_spec({"norms": "owm"})
    with pytest.raises(UnknownNameError, match="unknown normalization 'own'"):
        nw.mlp(4, 2, norm="own")
