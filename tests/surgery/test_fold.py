"""Folding keeps the outputs: every layer and norm, before and behind, and the cases in which other tools are wrong."""

from __future__ import annotations

import copy
import io
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

import normwise as nw
from normwise.errors import ArgumentError
from normwise.surgery import fold


def filled(model: nn.Module) -> nn.Module:
    """The model in evaluation mode, its norms with statistics and affine maps of a training, so to speak."""
    with torch.no_grad():
        for module in model.modules():
            if getattr(module, "running_mean", None) is not None:
                module.running_mean.normal_(1.0, 2.0)
                if module.running_var is not None:
                    module.running_var.uniform_(0.2, 3.0)
                for name, mean in (("weight", 1.0), ("bias", 0.0)):
                    parameter = getattr(module, name)
                    if parameter is not None:
                        parameter.normal_(mean, 0.7)
    return model.eval()


def difference(one: nn.Module, other: nn.Module, *inputs: Tensor) -> float:
    with torch.no_grad():
        expected, actual = (copy.deepcopy(model).eval()(*inputs) for model in (one, other))
    assert actual.shape == expected.shape
    assert actual.dtype == expected.dtype
    return ((actual.double() - expected.double()).abs().max() / expected.double().abs().max()).item()


def folded_whole(model: nn.Module, x: Tensor, **options: Any) -> nn.Module:
    """The model without its norms, after a comparison on inputs that folding did not see."""
    given = copy.deepcopy(model)
    new, edits = fold(model, x, **options)
    assert edits.left_alone == (), edits
    assert not any(getattr(module, "running_mean", None) is not None for module in new.modules())
    for batch in (1, 5):
        again = torch.randn(batch, *x.shape[1:]) * 3.0
        assert difference(given, new, again) <= 1e-10
    # What was given is as it was.
    assert repr(model) == repr(given)
    assert all(
        torch.equal(a, b)
        for a, b in zip(model.state_dict().values(), given.state_dict().values(), strict=True)
    )
    return new


MODES = ("zeros", "reflect", "replicate", "circular")
SIZES = {1: (9,), 2: (9, 7), 3: (6, 5, 7)}


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("bias", [False, True])
def test_convolution_and_norm(rank: int, mode: str, groups: int, bias: bool) -> None:
    convolution, norm = getattr(nn, f"Conv{rank}d"), getattr(nn, f"BatchNorm{rank}d")
    settings = {
        "stride": 2,
        "padding": 1,
        "dilation": 2,
        "groups": groups,
        "bias": bias,
        "padding_mode": mode,
    }
    x = torch.randn(2, 4, *SIZES[rank])
    behind = filled(nn.Sequential(convolution(4, 8, 2, **settings), norm(8)))
    new = folded_whole(behind, x)
    assert [name for name, _ in new.named_children()] == ["0"]
    assert type(new[0]) is convolution
    assert list(new.state_dict()) == ["0.weight", "0.bias"]
    before = filled(nn.Sequential(norm(4), convolution(4, 8, 2, **settings)))
    new = folded_whole(before, x)
    assert len(new) == (2 if mode == "zeros" else 1)
    settings["padding"] = 0
    assert len(folded_whole(filled(nn.Sequential(norm(4), convolution(4, 8, 2, **settings))), x)) == 1


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_padding_by_name(padding: str) -> None:
    x = torch.randn(2, 4, 9, 7)
    for layers in ([nn.Conv2d(4, 4, 4, padding=padding), nn.BatchNorm2d(4)],) * 2:
        folded_whole(filled(nn.Sequential(*layers)), x)
        folded_whole(filled(nn.Sequential(*reversed(layers))), x)


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_transposed_convolution_and_norm(rank: int, groups: int) -> None:
    convolution, norm = getattr(nn, f"ConvTranspose{rank}d"), getattr(nn, f"BatchNorm{rank}d")
    for size in (4, 8):
        layer = convolution(4, size, 3, stride=2, padding=1, output_padding=1, groups=groups, dilation=2)
        folded_whole(filled(nn.Sequential(layer, norm(size))), torch.randn(2, 4, *SIZES[rank]))


def test_a_norm_before_a_transposed_convolution() -> None:
    x = torch.randn(2, 4, 5, 5)
    model = filled(nn.Sequential(nn.BatchNorm2d(4), nn.ConvTranspose2d(4, 6, 3, stride=2)))
    new, edits = fold(model, x)
    assert type(new[0]) is nn.BatchNorm2d
    assert "adds up different numbers of inputs" in edits["0"].why
    folded_whole(filled(nn.Sequential(nn.BatchNorm2d(4), nn.ConvTranspose2d(4, 6, 1, groups=2))), x)
    model[0].running_mean.zero_()
    model[0].bias.data.zero_()
    folded_whole(model, x)


def test_linear_layers_against_the_formula_in_numpy() -> None:
    x = torch.randn(6, 5)
    model = filled(nn.Sequential(nn.BatchNorm1d(5), nn.Linear(5, 3), nn.BatchNorm1d(3)))
    new = folded_whole(model, x)
    w, b = (each.detach().numpy() for each in (model[1].weight, model[1].bias))
    (m1, v1, g1, b1), (m2, v2, g2, b2) = (
        [each.detach().numpy() for each in (n.running_mean, n.running_var, n.weight, n.bias)]
        for n in (model[0], model[2])
    )
    expected = np.einsum("oi,i,o->oi", w, g1 / np.sqrt(v1 + 1e-5), g2 / np.sqrt(v2 + 1e-5))
    shift = (w @ (b1 - m1 * g1 / np.sqrt(v1 + 1e-5)) + b - m2) * g2 / np.sqrt(v2 + 1e-5) + b2
    np.testing.assert_allclose(new[0].weight.detach().numpy(), expected, rtol=1e-13)
    np.testing.assert_allclose(new[0].bias.detach().numpy(), shift, rtol=1e-12)


NORMS: dict[str, Callable[[], nn.Module]] = {
    "no affine": lambda: nn.BatchNorm2d(4, affine=False),
    "no bias": lambda: nn.BatchNorm2d(4, bias=False),
    "eps": lambda: nn.BatchNorm2d(4, eps=0.3, momentum=None),
    "nw": lambda: nw.BatchNorm2d(4),
    "sync": lambda: nn.SyncBatchNorm(4),
    "nw sync": lambda: nw.SyncBatchNorm(4),
    "instance": lambda: nn.InstanceNorm2d(4, track_running_stats=True, affine=True),
    "nw instance": lambda: nw.InstanceNorm2d(4, track_running_stats=True),
    "ghost": lambda: nw.GhostBatchNorm2d(4, ghost_size=2),
    "renorm": lambda: nw.BatchRenorm2d(4),
    "mean only": lambda: nw.MeanOnlyBatchNorm2d(4),
    "plain fused": lambda: nw.BatchNormAct2d(4),
}


@pytest.mark.parametrize("name", NORMS)
def test_norms_before_and_behind(name: str) -> None:
    x = torch.randn(3, 4, 6, 5)
    folded_whole(filled(nn.Sequential(nn.Conv2d(4, 4, 3), NORMS[name]())), x)
    folded_whole(filled(nn.Sequential(NORMS[name](), nn.Conv2d(4, 6, 3))), x)
    folded_whole(filled(nn.Sequential(NORMS[name](), nn.Conv2d(4, 6, 3, padding=2))), x)


@pytest.mark.parametrize("second", ["no affine", "no bias", "nw", "instance", "plain fused"])
def test_a_norm_before_a_norm(second: str) -> None:
    x = 1e3 + torch.randn(3, 4, 6, 5)
    model = filled(nn.Sequential(nn.BatchNorm2d(4), NORMS[second]()))
    model[0].running_mean.add_(1e3)
    model[0].weight.data[1] = 0.0  # a constant channel
    new, edits = fold(model, x)
    assert len(new) == 1
    assert edits["0"].why == "in `1`"
    assert difference(model, new, 1e3 + torch.randn(2, 4, 3, 3)) <= 1e-10
    assert torch.equal(model[1].running_mean, new[0].running_mean) is False


def test_frozen_statistics_are_folded_in_training_mode_too() -> None:
    x = torch.randn(3, 4, 6, 5)
    model = filled(nn.Sequential(nn.Conv2d(4, 4, 3), nw.BatchNorm2d(4).freeze_statistics())).train()
    folded_whole(model, x)
    model = filled(nn.Sequential(nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4))).train()
    new, edits = fold(model, x)
    assert edits["1"].why == "it is in training mode: call `eval()` first"
    assert type(new[1]) is nn.BatchNorm2d


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "gelu", "silu", "tanh", "sigmoid"])
def test_what_a_fused_norm_does_afterwards_stays(activation: str) -> None:
    x = torch.randn(3, 4, 6, 5)
    model = filled(
        nn.Sequential(nn.Conv2d(4, 4, 3), nw.BatchNormAct2d(4, activation=activation), nn.Flatten())
    )
    new = folded_whole(model, x)
    assert type(new[1]).__module__ == "torch.nn.modules.activation"
    model[1].dropout = 0.25
    new = folded_whole(model, x)
    assert [type(module).__name__ for module in new[1]][1] == "Dropout"
    assert new[1][1].p == 0.25
    assert not new[1][1].training
    instance = nw.InstanceNormAct1d(4, track_running_stats=True, affine=True, activation=activation)
    folded_whole(filled(nn.Sequential(nn.Conv1d(4, 4, 3), instance)), torch.randn(3, 4, 6))


@pytest.mark.parametrize(
    ("dtype", "norm_dtype"), [(torch.float32, torch.float64), (torch.bfloat16, torch.float32)]
)
def test_weights_are_rounded_once(dtype: torch.dtype, norm_dtype: torch.dtype) -> None:
    conv, norm = nn.Conv2d(3, 4, 3, dtype=dtype), nn.BatchNorm2d(4, dtype=norm_dtype)
    norm = filled(norm)
    exact = (
        conv.weight.double()
        * (norm.weight.double() / (norm.running_var.double() + 1e-5).sqrt())[:, None, None, None]
    )
    model = nn.Sequential(conv, norm if norm_dtype is torch.float32 else norm.to(dtype)).eval()
    if norm_dtype is torch.float64:
        exact = (
            conv.weight.double()
            * (
                (model[1].weight.double() / (model[1].running_var.double() + 1e-5).sqrt())[
                    :, None, None, None
                ]
            )
        )
    new, edits = fold(model, torch.randn(2, 3, 6, 6, dtype=dtype))
    assert new[0].weight.dtype is dtype
    assert torch.equal(new[0].weight, exact.to(dtype))
    assert str(dtype).removeprefix("torch.") in edits.notes[1]


def test_layout_gradients_and_buffers_of_others_stay() -> None:
    model = filled(
        nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 1))
    )
    model = model.to(memory_format=torch.channels_last)
    model[0].weight.requires_grad_(False)
    x = torch.randn(2, 3, 7, 7).to(memory_format=torch.channels_last)
    new, _ = fold(model, x, keep_places=True)
    assert [type(module) for module in new] == [nn.Conv2d, nn.Identity, nn.ReLU, nn.Conv2d]
    assert new[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert not new[0].weight.requires_grad
    assert not new[0].bias.requires_grad
    assert new[3].weight is model[3].weight
    assert new(x).is_contiguous(memory_format=torch.channels_last)
    assert not any(module.training for module in new.modules())


def test_in_place_is_the_same_model() -> None:
    model = filled(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()))
    before, x = copy.deepcopy(model), torch.randn(2, 3, 6, 6)
    state = torch.get_rng_state()
    new, edits = fold(model, x, inplace=True)
    assert torch.equal(state, torch.get_rng_state())
    assert new is model
    assert difference(before, model, x) <= 1e-10
    assert [name for name, _ in model.named_children()] == ["0", "2"]
    assert edits.notes[0] == "modules: 4 before, 3 after"
    assert [tuple(edit) for edit in edits] == [
        ("0", "nn.Conv2d", "nn.Conv2d, folded", "with `1` in it"),
        ("1", "nn.BatchNorm2d", "", "in `0`"),
    ]


def test_a_folded_model_is_torchs_alone() -> None:
    model = filled(nn.Sequential(nn.Conv2d(3, 4, 3), nw.BatchNormAct2d(4, activation="relu")))
    new, _ = fold(model, torch.randn(2, 3, 6, 6))
    file = io.BytesIO()
    torch.save(new, file)
    assert b"normwise" not in file.getvalue()
    torch.export.export(new, (torch.randn(2, 3, 6, 6),))


@pytest.mark.parametrize(
    "wrap",
    [
        nw.weight_norm,
        nw.spectral_norm,
        nw.weight_standardization,
        torch.nn.utils.parametrizations.weight_norm,
        torch.nn.utils.spectral_norm,
    ],
)
def test_parametrized_weights_are_baked(wrap: Callable[[nn.Module], nn.Module]) -> None:
    model = filled(
        nn.Sequential(wrap(nn.Conv2d(3, 4, 3)), nn.BatchNorm2d(4), nn.ReLU(), wrap(nn.Conv2d(4, 5, 1)))
    )
    given = copy.deepcopy(model.state_dict())
    new = folded_whole(model, torch.randn(2, 3, 6, 6))
    assert [type(module) for module in new] == [nn.Conv2d, nn.ReLU, nn.Conv2d]
    assert list(new.state_dict()) == ["0.weight", "0.bias", "3.weight", "3.bias"]
    assert list(given) == list(model.state_dict())


# What other tools do to the same models.


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(self.conv(x)))


def fx_fused(model: nn.Module) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torch.fx.experimental.optimization import fuse

        return fuse(model)


def by_registration(model: nn.Module) -> nn.Module:
    """What tools do that pair a norm with the last convolution that was registered."""
    model, last = copy.deepcopy(model), ""
    for name, module in list(model.named_children()):
        if isinstance(module, nn.Conv2d):
            last = name
        elif isinstance(module, nn.BatchNorm2d) and last:
            setattr(model, last, fuse_conv_bn_eval(getattr(model, last), module))
            setattr(model, name, nn.Identity())
    return model


def test_a_convolution_that_is_called_twice() -> None:
    model, x = filled(Twice()), torch.randn(2, 4, 5, 5)
    assert difference(model, fx_fused(model), x) > 0.05
    new, edits = fold(model, x)
    assert edits["norm"].why == "`conv` is also called where this norm does not follow"
    assert difference(model, new, x) == 0.0


def test_an_activation_between() -> None:
    model = filled(nn.Sequential(nn.Conv2d(4, 4, 1), nn.ReLU(), nn.BatchNorm2d(4)))
    x = torch.randn(2, 4, 5, 5)
    assert difference(model, by_registration(model), x) > 0.05
    new, edits = fold(model, x)
    assert "neither right before nor right behind" in edits["2"].why
    assert difference(model, new, x) == 0.0


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_torch_takes_a_transposed_convolution_for_another(groups: int) -> None:
    model = filled(nn.Sequential(nn.ConvTranspose2d(4, 4, 3, groups=groups), nn.BatchNorm2d(4)))
    x = torch.randn(2, 4, 5, 5)
    wrong = False
    try:
        wrong = difference(model, fuse_conv_bn_eval(*copy.deepcopy(model), transpose=groups > 1), x) > 0.05
    except (RuntimeError, ValueError, AssertionError):
        wrong = True
    assert wrong
    folded_whole(model, x)


def test_linear_layers_that_torch_fuses_wrongly() -> None:
    model = filled(nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4, affine=False)))
    with pytest.raises(TypeError):
        fuse_linear_bn_eval(model[0], model[1])
    folded_whole(model, torch.randn(3, 5))
    model, x = filled(nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4))), torch.randn(3, 4, 5)
    assert difference(model, fuse_linear_bn_eval(model[0], model[1]), x) > 0.05
    new, edits = fold(model, x)
    assert edits["1"].why == "its channels are on axis 1 of 3, and those of `0` are on another"
    assert difference(model, new, x) == 0.0


def test_fresh_weights_fold_to_the_keys_of_trained_ones() -> None:
    def built() -> nn.Sequential:
        return nn.Sequential(
            nn.BatchNorm2d(4),
            nn.Conv2d(4, 4, 3, padding=1, bias=False),
            nn.ReLU(),
            nn.BatchNorm2d(4),
            nn.Conv2d(4, 2, 1, bias=False),
        ).eval()

    x = torch.randn(2, 4, 5, 5)
    trained, fresh = (fold(model, x)[0] for model in (filled(built()), built()))
    assert type(fresh[0]).__name__ == "ChannelPad"  # of zeros
    fresh.load_state_dict(trained.state_dict())
    assert difference(trained, fresh, x) == 0.0


def test_zeros_as_padding_are_not_shifted() -> None:
    model = filled(nn.Sequential(nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3, padding=1)))
    x = torch.randn(2, 4, 5, 5)
    naive = copy.deepcopy(model[1])
    scale = model[0].weight / (model[0].running_var + 1e-5).sqrt()
    shift = model[0].bias - model[0].running_mean * scale
    with torch.no_grad():
        naive.bias += torch.einsum("oihw,i->o", naive.weight, shift)
        naive.weight *= scale[:, None, None]
    assert difference(model, naive, x) > 0.05
    torch.testing.assert_close(naive(x)[..., 1:-1, 1:-1], model(x)[..., 1:-1, 1:-1])  # the border alone
    assert type(folded_whole(model, x)[0]).__name__ == "ChannelPad"
    new, edits = fold(model, x, border="refuse")
    assert "pads with zeros" in edits["0"].why
    assert type(new[0]) is nn.BatchNorm2d
    model[0].weight.data[2] = 0.0
    new, edits = fold(model, x)
    assert "where its weight is 0 nothing is mapped to zero" in edits["0"].why
    model[0].bias.data[2] = 0.0
    folded_whole(model, x)


def test_a_subclass_with_an_activation() -> None:
    class NormAct(nn.BatchNorm2d):
        def forward(self, input: Tensor) -> Tensor:
            return super().forward(input).relu()

    class Renamed(nn.BatchNorm2d):
        def __init__(self, channels: int) -> None:
            super().__init__(channels, eps=0.1)

    x = torch.randn(2, 4, 5, 5)
    model = filled(nn.Sequential(nn.Conv2d(4, 4, 1), NormAct(4)))
    assert difference(model, fuse_conv_bn_eval(model[0], model[1]), x) > 0.05
    new, edits = fold(model, x)
    assert edits["1"].why == "a NormAct may do more than its base"
    assert difference(model, new, x) == 0.0
    folded_whole(filled(nn.Sequential(nn.Conv2d(4, 4, 1), Renamed(4))), x)


class Frozen(nn.Module):
    """Four buffers, as detection libraries have it."""

    def __init__(self, wrong: float = 0.0) -> None:
        super().__init__()
        for name, value in (("weight", 1.0), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 1.0)):
            self.register_buffer(name, torch.full((4,), value).uniform_(0.5, 2.0))
        self.wrong = wrong

    def forward(self, x: Tensor) -> Tensor:
        w, b, m, v = (
            each.view(-1, 1, 1) for each in (self.weight, self.bias, self.running_mean, self.running_var)
        )
        return x * (w * (v + 1e-5).rsqrt()) + (b - m * w * (v + 1e-5).rsqrt()) + self.wrong


@pytest.mark.parametrize(
    ("home", "name"),
    [
        ("torchvision.ops.misc", "FrozenBatchNorm2d"),
        ("transformers.models.detr.modeling_detr", "DetrFrozenBatchNorm2d"),
    ],
)
def test_frozen_norms_of_others_are_known_by_name_and_tried(home: str, name: str) -> None:
    known = type(name, (Frozen,), {"__module__": home})
    x = torch.randn(2, 4, 5, 5)
    folded_whole(nn.Sequential(nn.Conv2d(4, 4, 1), known()), x)
    _, edits = fold(nn.Sequential(nn.Conv2d(4, 4, 1), known(wrong=0.1)), x)
    assert edits["1"].why == f"this {name} is not the scale and shift that its buffers say"
    unknown = type("MyFrozenBatchNorm", (Frozen,), {})
    _, edits = fold(nn.Sequential(nn.Conv2d(4, 4, 1), unknown()), x)
    assert (
        edits["1"].why
        == "a MyFrozenBatchNorm is no fixed scale and shift of each channel, as far as is known"
    )


def test_timms_norm_with_an_activation_leaves_the_activation() -> None:
    class Base(nn.BatchNorm2d):
        def __init__(self, channels: int) -> None:
            super().__init__(channels)
            self.drop, self.act = nn.Identity(), nn.PReLU()

        def forward(self, x: Tensor) -> Tensor:
            return self.act(self.drop(super().forward(x)))

    known = type("BatchNormAct2d", (Base,), {"__module__": "timm.layers.norm_act"})
    model = filled(nn.Sequential(nn.Conv2d(4, 4, 1), known(4)))
    new = folded_whole(model, torch.randn(2, 4, 5, 5))
    assert list(new.state_dict()) == ["0.weight", "0.bias", "1.act.weight"]
    assert new[1].act.weight is model[1].act.weight


def test_a_norm_whose_own_activation_comes_before_the_next_layer() -> None:
    class Dense(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(4, 4, 1), nw.BatchNormAct2d(8, activation="relu")
            self.next = nn.Conv2d(8, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.next(self.norm(torch.cat([x, self.conv(x)], 1)))

    _, edits = fold(filled(Dense()), torch.randn(2, 4, 5, 5))
    assert edits["norm"].why == "no layer stands right before it, and behind it comes its own activation"


# What is refused.


def test_wrong_arguments() -> None:
    model, x = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).eval(), torch.randn(2, 3, 6, 6)
    with pytest.raises(ArgumentError, match=r"fold: `border` must be 'pad' or 'refuse'. Got 'keep'"):
        fold(model, x, border="keep")
    with pytest.raises(ArgumentError, match=r"fold: the model must run on the example.*\(2, 3, 6\)"):
        fold(model, x[..., 0])
    with pytest.raises(ArgumentError, match=r"`model` must be a torch\.nn\.Module"):
        fold(nn.Conv2d, x)
    with pytest.raises(ArgumentError, match="finite"):
        fold(model, torch.full_like(x, torch.nan))
    with pytest.raises(ArgumentError, match="finite"):
        fold(model, x[:0])


def test_statistics_that_cannot_be_folded() -> None:
    x = torch.randn(2, 3, 6, 6)
    for spoil, why in (
        (lambda norm: norm.running_var.fill_(-1.0), "a variance is negative"),
        (lambda norm: norm.running_mean.fill_(torch.inf), "a value not finite"),
    ):
        model = Both(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)), nn.Conv2d(3, 4, 3)).eval()
        spoil(model.first[1])
        _, edits = fold(model, x)
        assert why in edits["first.1"].why
    for norm in (nn.BatchNorm2d(4, track_running_stats=False), nn.InstanceNorm2d(4)):
        _, edits = fold(nn.Sequential(nn.Conv2d(3, 4, 3), norm).eval(), x)
        assert "it has no running statistics" in edits["1"].why


class Both(nn.Module):
    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.first, self.second = first, second

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.first(x), self.second(x)


def test_weights_that_overflow_stay() -> None:
    model = filled(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))).half()
    model[1].running_var.fill_(1e-7)
    model[1].weight.data.fill_(6e4)
    model[1].eps = 1e-12
    model[0].bias.data.zero_()
    model[1].running_mean.zero_()
    new, edits = fold(model, torch.randn(2, 3, 6, 6).mul(1e-4).half())
    assert "not finite" in edits["1"].why
    assert type(new[1]) is nn.BatchNorm2d


def test_a_model_that_rounds_too_much_is_refused_whole() -> None:
    layers = [each for _ in range(4) for each in (nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4))]
    model, x = filled(nn.Sequential(*layers)).float(), torch.randn(2, 4, 5, 5).float()
    before = copy.deepcopy(model)
    with pytest.raises(
        ArgumentError, match=r"in float32 \(limit 1e-09\); the given model is itself .* from float64"
    ):
        fold(model, x, tolerance=1e-9, inplace=True)
    assert repr(model) == repr(before)
    assert torch.equal(model(x), before(x))
    new, edits = fold(model, x, tolerance=1e-3)
    assert len(new) == 4
    error = float(edits.notes[1].split(" in float32")[0].split(" ")[-1])
    assert 1e-9 < error <= 1e-5
