"""What stays as it is, and why; errors change nothing."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

import normwise as nw
from normwise.errors import ArgumentError, UnknownNameError
from normwise.surgery import convert

Stir = Callable[[nn.Module], nn.Module]
IMAGES = (4, 3, 7, 5)


def state_of(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def same_bits(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return list(one) == list(other) and all(torch.equal(one[name], other[name]) for name in one)


def test_what_is_not_known_is_left_alone() -> None:
    class Mine(nn.BatchNorm1d):
        def forward(self, input: Tensor) -> Tensor:
            return super().forward(input).relu()

    class MyRMSNorm(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(6))

    replaced = nn.BatchNorm1d(6)
    replaced.forward = nn.Identity().forward  # type: ignore[method-assign]
    held = nn.BatchNorm1d(6)
    held.track_running_stats = False
    with pytest.warns(DeprecationWarning, match="deprecated"):
        scripted = torch.jit.script(nn.BatchNorm1d(6))
    rows: list[tuple[nn.Module, str]] = [
        (Mine(6), "a subclass may do more than its base"),
        (MyRMSNorm(), "what MyRMSNorm computes is not known"),
        (nn.LazyBatchNorm1d(), "it has no shape before the first batch"),
        (parametrizations.weight_norm(nn.LayerNorm(6), dim=None), "it is parametrized"),
        (scripted, "it is part of a scripted module"),
        (replaced, "its `forward` was replaced"),
        (held, "it has running statistics that it does not track"),
    ]
    model = nn.Sequential(*(module for module, _ in rows))
    before = [type(module) for module in model]
    # A scripted module is copied by torch in a way of its own, and so are its parameters.
    new, edits = convert(model, ["batch", "layer", "rms"], "group", inplace=True)
    assert [edit.why for edit in edits] == [why for _, why in rows]
    assert [type(module) for module in new] == before


def test_what_its_input_does_not_allow_is_left_alone() -> None:
    def why(module: nn.Module, source: str, target: str, *shape: int) -> str:
        example = torch.randn(shape) if shape else None
        return convert(nn.Sequential(module), source, target, example=example)[1]["0"].why

    assert "give an example" in why(nn.GroupNorm(2, 4), "group", "batch")
    assert "give an example" in why(nn.SyncBatchNorm(4), "sync", "batch")
    assert "give an example" in why(nn.BatchNorm1d(4), "batch", "instance")
    assert "give an example" in why(nn.LayerNorm(4), "layer", "batch")
    assert "lie last in (2, 3, 4)" in why(nn.LayerNorm(4), "layer", "batch", 2, 3, 4)
    assert "single value" in why(nn.BatchNorm1d(4), "batch", "instance", 2, 4)
    assert "single value" in why(nn.BatchNorm2d(4), "batch", "instance", 2, 4, 1, 1)
    assert "single value" in why(nn.BatchNorm1d(1), "batch", "layer", 2, 1)
    assert "no axis of samples" in why(nn.InstanceNorm2d(4), "instance", "group", 4, 5, 5)
    assert "no axis of samples" in why(nn.InstanceNorm1d(4), "instance", "group", 4, 5)
    assert "tracks no statistics" in why(
        nn.BatchNorm1d(4, track_running_stats=False), "batch", "frozen", 2, 4
    )
    assert "its eps is 0" in why(nn.BatchNorm1d(4, eps=0.0), "batch", "ghost", 2, 4)


class ChannelsFirst(nn.LayerNorm):
    """What a library calls LayerNorm2d."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input.movedim(1, -1)).movedim(-1, 1)


class WithActivation(nn.BatchNorm2d):
    """What a library calls BatchNormAct2d."""

    def __init__(self, features: int) -> None:
        super().__init__(features)
        self.drop, self.act = nn.Identity(), nn.SiLU(inplace=True)

    def forward(self, input: Tensor) -> Tensor:
        output: Tensor = self.act(self.drop(super().forward(input)))
        return output


class HalfRMSNorm(nn.Module):
    """What a library of language models has: computed in float32, eps under a name of its own."""

    offset = 0.0

    def __init__(self, features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(features))
        self.variance_epsilon = 1e-4

    def forward(self, x: Tensor) -> Tensor:
        wide = x.float()
        wide = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.variance_epsilon)
        return (self.weight + self.offset) * wide.to(x.dtype)


class OffsetRMSNorm(HalfRMSNorm):
    """The same, whose gain is one more than its weight."""

    offset = 1.0


class Turned(nn.GroupNorm):
    """Arguments in another order, as a library has them."""

    def __init__(self, num_channels: int, num_groups: int) -> None:
        super().__init__(num_groups, num_channels)


class Louder(nn.GroupNorm):
    """A subclass that does more."""

    def forward(self, input: Tensor) -> Tensor:
        return 1.001 * super().forward(input)


def test_classes_of_known_libraries_prove_what_they_are(monkeypatch: pytest.MonkeyPatch, stir: Stir) -> None:
    def convert_one(module: nn.Module, kind: str, target: str, x: Tensor) -> tuple[nn.Module, str]:
        new, edits = convert(stir(nn.Sequential(module)), kind, target, data=x)
        return new[0], edits["0"].why

    image, row = torch.randn(6, 16, 5, 4), torch.randn(6, 7, 16)
    assert convert_one(ChannelsFirst(16), "layer", "rms", image)[1] == "a subclass may do more than its base"
    for kind in (ChannelsFirst, WithActivation, HalfRMSNorm, OffsetRMSNorm, Turned, Louder):
        monkeypatch.setattr(kind, "__module__", "timm.layers.norm")
    assert type(convert_one(ChannelsFirst(16), "layer", "rms", image)[0]) is nw.RMSNorm2d
    fused, _ = convert_one(WithActivation(16), "batch", "group:4", image)
    assert (type(fused), fused.activation) == (nw.GroupNormAct, "silu")
    tanh, _ = convert_one(HalfRMSNorm(16), "rms", "dynamic_tanh", row)
    assert type(tanh) is nw.DynamicTanh
    assert convert_one(HalfRMSNorm(16), "rms", "layer", row)[0].eps == 1e-4
    assert "computes something else" in convert_one(OffsetRMSNorm(16), "rms", "layer", row)[1]
    assert "computes something else" in convert_one(Louder(4, 16), "group", "layer", image)[1]
    for module in (WithActivation(16), HalfRMSNorm(16)):
        module.forward = module.forward  # type: ignore[method-assign]
        kind_of = "batch" if isinstance(module, WithActivation) else "rms"
        assert convert(module, kind_of, "group")[1][""].why == "its `forward` was replaced"
    assert type(convert_one(Turned(16, 8), "group", "batch", image)[0]) is nw.BatchNorm2d
    assert "there is no Ghost" in convert_one(WithActivation(16), "batch", "ghost", image)[1]
    quiet = WithActivation(16)
    quiet.act = nn.Identity()  # type: ignore[assignment]
    assert type(convert_one(quiet, "batch", "ghost", image)[0]) is nw.GhostBatchNorm2d
    other = WithActivation(16)
    other.act = nn.Softmax(1)  # type: ignore[assignment]
    assert "modules of its own that are not known" in convert_one(other, "batch", "group", image)[1]


@pytest.fixture
def untouched(stir: Stir) -> Iterator[nn.Module]:
    """A model that is to be as it was, whatever is tried on it."""
    model = stir(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 15, 2)))
    model[1].eval()
    before, modes = copy.deepcopy(model), [module.training for module in model.modules()]
    torch.manual_seed(7)
    random = torch.get_rng_state()
    yield model
    assert torch.equal(torch.get_rng_state(), random)
    assert [type(module) for module in model.modules()] == [type(module) for module in before.modules()]
    assert [module.training for module in model.modules()] == modes
    assert same_bits(state_of(model), state_of(before))
    assert not any(module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize("inplace", [True, False])
def test_errors_change_nothing(untouched: nn.Module, inplace: bool) -> None:
    class Broken(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise RuntimeError("no")

    generator = torch.Generator().manual_seed(0)
    x = torch.randn(IMAGES, generator=generator)
    cases: list[tuple[dict[str, object], type[Exception], str]] = [
        ({"target": "bacth"}, UnknownNameError, "Did you mean 'batch'"),
        ({"target": "group:0"}, ArgumentError, "must count groups"),
        ({"target": "layer:2"}, ArgumentError, "takes no number"),
        ({"target": "frozen:2"}, ArgumentError, "takes no number"),
        ({"source": "batch:2"}, ArgumentError, "without a number"),
        ({"source": "masked"}, ArgumentError, "write 'batch'"),
        ({"source": ()}, ArgumentError, "must name a normalization"),
        ({"source": nn.BatchNorm2d}, ArgumentError, "`source` must be the name.*the class BatchNorm2d"),
        ({"source": ["batch", 3]}, ArgumentError, "`source` must be the name.*Got a int"),
        ({"source": None}, ArgumentError, "`source` must be the name.*Got a NoneType"),
        ({"target": nn.GroupNorm}, ArgumentError, "`target` must be the name.*the class GroupNorm"),
        ({"source": "layer"}, ArgumentError, "other normalizations: 1 of 'batch'"),
        ({"where": "norm*"}, ArgumentError, "`where` must select a layer of Batch"),
        ({"example": torch.randn(2, 5, 7, 5, generator=generator)}, ArgumentError, "must run on the example"),
        ({"data": []}, ArgumentError, "`data` must have a batch"),
        ({"data": 3}, ArgumentError, "`data` must be batches or a loader"),
        ({"data": [x], "batches": 0}, ArgumentError, "`batches` must be at least 1"),
        ({"data": [x, x[:, :2]]}, ArgumentError, "must run on the batches of `data`"),
        ({"source": "torch"}, ArgumentError, "convert into each other"),
        ({"source": "torch", "target": "normwise", "where": "1"}, ArgumentError, "with `where`"),
    ]
    for options, kind, text in cases:
        given: dict[str, object] = {"source": "batch", "target": "group", "inplace": inplace} | options
        with pytest.raises(kind, match=text):
            convert(untouched, **given)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match=r"must be a torch\.nn\.Module"):
        convert(nn.BatchNorm1d, "batch", "group")  # type: ignore[arg-type]


@pytest.mark.parametrize("inplace", [True, False])
def test_a_model_that_does_not_run_afterwards_is_not_changed(inplace: bool) -> None:
    class Reads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm1d(16)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.norm(x) * self.norm.running_var
            return y

    model = Reads()
    with pytest.raises(ArgumentError, match=r"must run on the example in training.*running_var"):
        convert(model, "batch", "group", example=torch.randn(4, 16), inplace=inplace)
    assert type(model.norm) is nn.BatchNorm1d
    assert model.norm.num_batches_tracked == 0


def test_an_evaluation_that_would_change_is_refused() -> None:
    class Peeks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm1d(16)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.norm(x)
            return y if type(self.norm) is nn.BatchNorm1d else y + 1e-3

    with pytest.raises(ArgumentError, match="evaluation on the example must stay the same"):
        convert(Peeks(), "batch", "masked", example=torch.randn(4, 16))


def test_without_values_a_model_is_converted_and_not_tried() -> None:
    model = nn.Sequential(nn.Linear(6, 16, device="meta"), nn.GroupNorm(4, 16, device="meta"))
    x = torch.randn(4, 6, device="meta")
    for target in ("batch", "dynamic_tanh"):
        new, edits = convert(model, "group", target, example=x)
        assert all(tensor.is_meta for tensor in new[1].parameters())
        assert "not tried, since a model on the meta device has no values" in edits.notes
    with pytest.raises(ArgumentError, match="must have values to be fitted"):
        convert(model, "group", "batch", data=x)
