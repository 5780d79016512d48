"""Parameter groups: every trainable parameter once, and who decays."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm
from torch.nn.utils.parametrize import ParametrizationList

from normwise import layers
from normwise.errors import ArgumentError
from normwise.regularizers import parameter_groups
from normwise.testing.cases import all_cases


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


def stand_in(name: str, *bases: type[nn.Module], **parameters: tuple[int, ...]) -> nn.Module:
    """A module of another package, by its class's name and its parameters' shapes."""
    kind = type(name, bases or (nn.Module,), {"__module__": "elsewhere"})
    module = kind()
    for key, shape in parameters.items():
        setattr(module, key, nn.Parameter(torch.randn(shape)))
    return module


# As the packages have them: class, parameters; two-dimensional gains are what a rule by dimensions would miss.
NORMS_ELSEWHERE = {
    "timm": ("LayerNorm2d", {"weight": (4,), "bias": (4,)}),
    "timm fused": ("BatchNormAct2d", {"weight": (4, 1), "bias": (4, 1)}),
    "timm group": ("GroupNorm1", {"weight": (1, 4)}),
    "timm rms": ("RmsNorm2d", {"weight": (1, 4)}),
    "timm response": ("GlobalResponseNorm", {"weight": (1, 1, 1, 4)}),
    "timm affine": ("Affine", {"alpha": (1, 1, 4), "beta": (1, 1, 4)}),
    "transformers": ("T5LayerNorm", {"weight": (4,)}),
    "transformers rms": ("LlamaRMSNorm", {"weight": (1, 4)}),
    "transformers response": ("ConvNextV2GRN", {"weight": (1, 1, 1, 4), "bias": (1, 1, 1, 4)}),
    "inplace_abn": ("InPlaceABNSync", {"weight": (1, 4)}),
    "dynamic": ("DyT", {"alpha": (1, 1), "weight": (1, 4)}),
    "layer scale": ("LayerScale2d", {"gamma": (4, 1, 1)}),
}


@pytest.mark.parametrize("key", NORMS_ELSEWHERE)
def test_norms_of_other_packages_are_known_by_name(key: str) -> None:
    name, parameters = NORMS_ELSEWHERE[key]
    decayed, plain = split(nn.ModuleDict({"norm": stand_in(name, **parameters), "linear": nn.Linear(2, 2)}))
    assert decayed == {"linear.weight"}
    assert {f"norm.{parameter}" for parameter in parameters} < plain


def test_a_norm_over_several_axes_is_known_by_its_shape() -> None:
    norm = stand_in("FusedLayerNorm", weight=(4, 3, 3), bias=(4, 3, 3))
    other = stand_in("FusedLayerNorm", weight=(4, 3, 3))
    norm.normalized_shape, other.normalized_shape = (4, 3, 3), (9,)
    assert split(nn.ModuleDict({"norm": norm, "other": other}))[0] == {"other.weight"}


def test_a_subclass_of_a_norm_is_one_whatever_its_name() -> None:
    base = type(stand_in("GemmaRMSNorm"))
    model = nn.Sequential(stand_in("Scaled", base, weight=(1, 4)), nn.Linear(2, 2))
    assert split(model)[0] == {"1.weight"}


def test_weights_in_classes_that_are_called_norms_decay() -> None:
    model = nn.ModuleDict(
        {
            "own": stand_in("NormedLinear", weight=(4, 3)),
            "linear": type("SpectralNormLinear", (nn.Linear,), {})(3, 1),
            "conv": type("AffineConv", (nn.Conv2d,), {})(4, 1, 1),
            "table": type("NormedEmbedding", (nn.Embedding,), {})(3, 1),
        }
    )
    assert split(model)[0] == {f"{name}.weight" for name in model}


def test_biases_gains_and_tokens_of_other_packages_do_not_decay() -> None:
    attention = stand_in("WindowAttention", relative_position_bias_table=(9, 2), logit_scale=(2, 1, 1))
    levit = stand_in("Attention", attention_biases=(2, 9), unbiased=(2, 9))
    vit = stand_in("VisionTransformer", cls_token=(1, 1, 4), pos_embed=(1, 9, 4))
    conv = type("ScaledStdConv2d", (nn.Conv2d,), {})(3, 4, 3)
    conv.gain = nn.Parameter(torch.ones(4, 1, 1, 1))
    model = nn.ModuleDict(
        {"a": attention, "b": levit, "c": vit, "d": conv, "e": nn.MultiheadAttention(4, 2, add_bias_kv=True)}
    )
    decayed, _ = split(model)
    assert decayed == {"b.unbiased", "c.pos_embed", "d.weight", "e.in_proj_weight", "e.out_proj.weight"}


def test_what_authors_list_does_not_decay_at_any_depth() -> None:
    vit = stand_in("VisionTransformer", pos_embed=(1, 9, 4), mask=(2, 9), state=(3, 3))
    vit.no_weight_decay = lambda: {"pos_embed", "head.weight"}
    vit.head = nn.Linear(3, 2)
    vit.state._no_weight_decay = True
    decayed, _ = split(nn.ModuleDict({"backbone": vit, "head": nn.Linear(3, 2)}))
    assert decayed == {"backbone.mask", "head.weight"}


def test_embeddings_and_patterns_are_options() -> None:
    model = nn.ModuleDict(
        {"words": nn.Embedding(5, 3), "head": nn.Linear(3, 5, bias=False), "mix": nn.Linear(3, 3)}
    )
    model.pos_embed = nn.Parameter(torch.randn(2, 9, 3))
    names = {id(p): n for n, p in model.named_parameters()}

    def decayed(**options: object) -> set[str]:
        groups = parameter_groups(model, 0.1, **options)
        return {names[id(p)] for g in groups if g["weight_decay"] for p in g["params"]}

    assert decayed() == {"words.weight", "head.weight", "mix.weight", "pos_embed"}
    assert decayed(embeddings=False, exempt=["*pos_embed"]) == {"head.weight", "mix.weight"}
    assert decayed(exempt="*.weight") == {"pos_embed"}
    model["head"].weight = model["words"].weight
    assert decayed(embeddings=False) == {"mix.weight", "pos_embed"}
    with pytest.raises(ArgumentError, match=r"every pattern in `exempt` must match a parameter\. Got 'pos'"):
        parameter_groups(model, 0.1, exempt=["pos"])


def test_every_layer_of_this_package_is_known() -> None:
    weighted = (
        nn.Linear,
        nn.Conv1d,
        nn.Conv2d,
        nn.Conv3d,
        nn.Embedding,
        nn.ConvTranspose2d,
        ParametrizationList,
    )
    wrong = []
    for name, case in all_cases().items():
        module = case.make()
        groups = parameter_groups(nn.Sequential(module, nn.Linear(2, 2)), 0.1)
        decayed = {id(p) for g in groups if g["weight_decay"] for p in g["params"]}
        for path, owner in module.named_modules():
            decays = any(id(p) in decayed for p in owner.parameters(recurse=False))
            wrong += [(name, path)] * (decays and not isinstance(owner, weighted))
    assert wrong == []
