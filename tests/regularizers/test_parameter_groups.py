"""Parameter groups: every trainable parameter once, and who decays."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from normwise import layers
from normwise.errors import ArgumentError
from normwise.regularizers import parameter_groups


def split(model: nn.Module) -> tuple[set[str], set[str]]:
    names = {id(p): n for n, p in model.named_parameters()}
    groups = parameter_groups(model, 0.1)
    decayed = {names[id(p)] for g in groups if g["weight_decay"] == 0.1 for p in g["params"]}
    plain = {names[id(p)] for g in groups if g["weight_decay"] == 0.0 for p in g["params"]}
    return decayed, plain


def everything() -> nn.ModuleDict:
    tied = nn.Linear(4, 4)
    other = nn.Linear(4, 4)
    other.weight = tied.weight
    return nn.ModuleDict(
        {
            "linear": tied,
            "tied": other,
            "conv": nn.Conv2d(2, 4, 3),
            "normalized": weight_norm(nn.ConvTranspose2d(4, 2, 3), dim=1),
            "batch": nn.BatchNorm2d(4),
            "layer": nn.LayerNorm((4, 3, 3)),
            "group": nn.GroupNorm(2, 4),
            "instance": nn.InstanceNorm2d(4, affine=True),
            "rms": nn.RMSNorm((4, 3)),
            "slope": nn.PReLU(4),
            "embedding": nn.Embedding(3, 4),
            "attention": nn.MultiheadAttention(4, 2),
        }
    )


def test_every_trainable_parameter_is_in_exactly_one_group() -> None:
    model = everything()
    model["conv"].weight.requires_grad_(False)
    listed = [id(p) for g in parameter_groups(model, 0.1) for p in g["params"]]
    assert len(listed) == len(set(listed))
    assert set(listed) == {id(p) for p in model.parameters() if p.requires_grad}


def test_norms_biases_and_gains_do_not_decay() -> None:
    decayed, _ = split(everything())
    assert decayed == {
        "linear.weight",
        "conv.weight",
        "normalized.parametrizations.weight.original1",
        "embedding.weight",
        "attention.in_proj_weight",
        "attention.out_proj.weight",
    }


def test_norms_and_gains_of_this_package_do_not_decay() -> None:
    model = nn.ModuleDict(
        {
            "weight": layers.weight_norm(nn.Conv2d(2, 4, 3)),
            "batch": layers.BatchNorm2d(4),
            "layer": layers.LayerNorm((4, 3, 3)),
            "channels": layers.LayerNorm2d(4),
            "fused": layers.LayerNormAct((4, 3, 3), activation="relu"),
            "rms": layers.RMSNorm2d(4),
            "group": layers.GroupNorm(2, 4),
        }
    )
    model["channels"].weight = nn.Parameter(torch.randn(4, 1, 1))
    decayed, _ = split(model)
    assert decayed == {"weight.parametrizations.weight.original1"}


def test_wide_bias_and_shared_parameter_of_a_norm_do_not_decay() -> None:
    model = nn.Module()
    model.bias = nn.Parameter(torch.randn(2, 2))
    model.scale = nn.Parameter(torch.randn(2, 2))
    model.norm = nn.LayerNorm((2, 2))
    model.norm.weight = model.scale
    model.linear = nn.Linear(2, 2, bias=False)
    decayed, plain = split(model)
    assert decayed == {"linear.weight"}
    assert plain == {"bias", "scale", "norm.bias"}


def test_groups_drive_an_optimizer() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    optimizer = torch.optim.SGD(parameter_groups(model, 0.5), lr=0.1)
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    optimizer.step()
    for name, p in model.named_parameters():
        factor = 0.95 if name == "0.weight" else 1.0
        torch.testing.assert_close(p.detach(), factor * before[name])


def test_empty_group_is_left_out() -> None:
    assert [g["weight_decay"] for g in parameter_groups(nn.Linear(2, 2, bias=False), 0.3)] == [0.3]
    assert [g["weight_decay"] for g in parameter_groups(nn.LayerNorm(2), 0.3)] == [0.0]


def test_bad_input_is_explained() -> None:
    with pytest.raises(ArgumentError, match="`weight_decay` must be finite and not negative"):
        parameter_groups(nn.Linear(2, 2), -0.1)
    with pytest.raises(ArgumentError, match="must have a trainable parameter"):
        parameter_groups(nn.ReLU(), 0.1)
