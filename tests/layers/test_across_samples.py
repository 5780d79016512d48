"""What all normalizations across samples do alike: running statistics that stay right, and inputs at the edge."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from normwise import layers as nw
from normwise.errors import ArgumentError
from normwise.kernels.cpu.library import portable
from normwise.kernels.registry import use_backend
from normwise.testing import assert_close

C = 4
# Constructor by number of axes of positions, and options.
LAYERS: dict[str, tuple[str, dict[str, Any]]] = {
    "BatchRenorm": (
        "BatchRenorm#d",
        {"momentum": 0.1, "plain_steps": 0, "r_max_step": 0, "d_max_step": 0},
    ),
    "GhostBatchNorm": ("GhostBatchNorm#d", {"ghost_size": 3}),
    "SplitBatchNorm": ("SplitBatchNorm#d", {}),
    "DomainBatchNorm": ("DomainBatchNorm#d", {"num_domains": 2}),
    "MeanOnlyBatchNorm": ("MeanOnlyBatchNorm#d", {}),
    "SwitchableNorm": ("SwitchableNorm#d", {}),
    "DecorrelatedBatchNorm": ("DecorrelatedBatchNorm#d", {}),
    "EvoNormB0": ("EvoNorm#dB0", {}),
}
each = pytest.mark.parametrize("name", LAYERS)


def build(name: str, rank: int = 2, **more: Any) -> nn.Module:
    pattern, options = LAYERS[name]
    return getattr(nw, pattern.replace("#", str(rank)))(C, **options, **more)


def call(layer: nn.Module, x: Tensor, **more: Any) -> Tensor:
    if "Domain" in type(layer).__name__:
        more["domain"] = torch.arange(x.shape[0], device=x.device) % 2
    return layer(x, **more)


def image(seed: int = 0, samples: int = 6) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(samples, C, 3, 2, generator=generator) * 2 + 1


def statistics(layer: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in layer.named_buffers() if "running" in name}


@each
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_batch_that_is_not_finite_moves_nothing(name: str, value: float) -> None:
    layer, x = build(name), image()
    before = statistics(layer)
    x[:, 1, 0, 0] = value
    assert not call(layer, x).isfinite().all()
    for key, old in before.items():
        assert torch.equal(layer.get_buffer(key), old), key
    assert not layer.num_batches_tracked.any()
    assert bool((layer.num_batches_skipped == 1).all())
    call(layer, image())
    moved = [not torch.equal(layer.get_buffer(key), old) for key, old in before.items()]
    assert all(moved)
    assert bool((layer.num_batches_tracked == 1).all())


@each
def test_frozen_statistics_normalize_in_training_and_stay(name: str) -> None:
    layer = build(name)
    call(layer, image())
    before = statistics(layer)
    layer.freeze_statistics().train()
    output = call(layer, image(1))
    for key, old in before.items():
        assert torch.equal(layer.get_buffer(key), old), key
    first = image(1)[:2]  # of a frozen batch, each sample is normalized as if alone
    if name == "SplitBatchNorm":
        assert torch.equal(output[:2], copy.deepcopy(layer).eval()(first))
        assert not torch.equal(output[3:5], copy.deepcopy(layer).eval()(image(1)[3:5]))
    else:
        assert_close(output[:2], call(layer, first))
    layer.freeze_statistics(False)
    call(layer, image(1))
    assert not any(torch.equal(layer.get_buffer(key), old) for key, old in before.items())


@each
def test_statistics_of_a_narrow_model_stay_wide(name: str) -> None:
    for layer in (build(name).bfloat16(), build(name, dtype=torch.bfloat16)):
        twin = build(name)
        for seed in range(3):
            x = image(seed).bfloat16()
            assert call(layer, x).dtype == torch.bfloat16
            call(twin, x.float())
        for key, exact in statistics(twin).items():
            assert layer.get_buffer(key).dtype == torch.float32
            assert_close(layer.get_buffer(key), exact, what=key)
    assert all(value.dtype == torch.float64 for value in statistics(build(name).double()).values())


@each
def test_all_batches_count_alike_without_momentum(name: str) -> None:
    averaged = build(name)
    for part in averaged.modules():
        part.momentum = None
    total: dict[str, Tensor] = {}
    for seed in range(4):
        fresh = build(name)
        for part in fresh.modules():
            part.momentum = 1.0
        call(averaged, image(seed))
        call(fresh, image(seed))
        for key, value in statistics(fresh).items():
            total[key] = total.get(key, 0) + value.double() / 4
    for key, mean in total.items():
        assert_close(averaged.get_buffer(key), mean, what=key)


@each
@pytest.mark.parametrize("backend", ["auto", "aten"])
@pytest.mark.parametrize("reentrant", [True, False])
def test_a_recomputation_moves_nothing(name: str, backend: str, reentrant: bool) -> None:
    layer, g = build(name), image(9)
    call(layer, image(1))
    twin = copy.deepcopy(layer)
    x, other = image().requires_grad_(), image().requires_grad_()
    with use_backend(backend):
        checkpoint(call, layer, x, use_reentrant=reentrant).backward(g)
        call(twin, other).backward(g)
    assert torch.equal(x.grad, other.grad)
    for key, value in twin.named_buffers():
        assert torch.equal(layer.get_buffer(key), value), key
    for key, parameter in twin.named_parameters():
        assert torch.equal(layer.get_parameter(key).grad, parameter.grad), key


@each
@pytest.mark.parametrize("value", [0.0, 3.0])
@pytest.mark.parametrize("training", [True, False])
def test_constant_inputs_give_finite_values_and_gradients(name: str, value: float, training: bool) -> None:
    layer = build(name).train(training)
    x = torch.full((4, C, 3, 2), value, requires_grad=True)
    y = call(layer, x)
    y.backward(torch.randn(y.shape, generator=torch.Generator().manual_seed(0)))
    assert y.isfinite().all()
    for key, tensor in (("input", x), *layer.named_parameters()):
        assert tensor.grad is None or tensor.grad.isfinite().all(), key
    assert x.grad is not None
    assert all(buffer.isfinite().all() for buffer in layer.buffers())


@each
def test_a_mean_far_above_the_spread_does_not_cancel(name: str) -> None:
    x = image() + 2e4
    layer = build(name)
    exact = copy.deepcopy(layer).double()
    # Where the kernels are not built, torch's batch normalization runs in some of the layers, and errs by thousands.
    factor = 1.0 if portable() is not None else 100.0
    # An input in float32 is what it is: the error is that of the layer.
    assert_close(call(layer, x), call(exact, x.double()), factor=factor)
    for key, value in statistics(exact).items():
        assert_close(layer.get_buffer(key), value, what=key, factor=factor)


@each
def test_one_value_per_channel(name: str) -> None:
    layer = build(name, rank=1)
    x = torch.randn(1, C, generator=torch.Generator().manual_seed(0))
    if (
        name == "DomainBatchNorm"
    ):  # tensors of domains are not looked at: the running statistics take their part
        before = statistics(layer)
        assert_close(call(layer, x), call(copy.deepcopy(layer).eval(), x))
        for key, old in before.items():
            assert torch.equal(layer.get_buffer(key), old), key
        return
    with pytest.raises(ArgumentError, match=r"(more than 1 value per channel|parts of one size)"):
        call(layer, x)
    assert call(layer.eval(), x).isfinite().all()


@each
@pytest.mark.parametrize(("rank", "dims"), [(1, (2, 3)), (2, (4,)), (3, (5,))])
def test_ranks_and_channels(name: str, rank: int, dims: tuple[int, ...]) -> None:
    layer = build(name, rank)
    for dim in range(1, 7):
        x = torch.randn(*((4, C, 2, 2, 2, 2)[:dim]), generator=torch.Generator().manual_seed(0))
        if dim in dims:
            assert call(layer, x).shape == x.shape
            with pytest.raises(ArgumentError, match=rf"must have the {C} channels of the layer"):
                call(layer, x[:, 1:])
        else:
            with pytest.raises(ArgumentError, match=rf"expected .*D input. Got {dim}D input"):
                call(layer, x)


@each
def test_resets(name: str) -> None:
    layer = build(name)
    fresh = copy.deepcopy(layer.state_dict())
    call(layer, image())
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.fill_(2.0)
    changed = {key for key, value in layer.state_dict().items() if not torch.equal(value, fresh[key])}
    assert changed == set(fresh)
    layer.reset_running_stats()
    assert not layer.num_batches_tracked.any()
    assert all(bool((parameter == 2).all()) for parameter in layer.parameters())
    layer.reset_parameters()
    for key, value in layer.state_dict().items():
        assert torch.equal(value, fresh[key]), key


@pytest.mark.parametrize("name", ["BatchRenorm", "GhostBatchNorm", "MeanOnlyBatchNorm"])
def test_padding_has_no_part(name: str) -> None:
    layer, x = build(name), image()
    mask = torch.rand(6, 3, 2, generator=torch.Generator().manual_seed(3)) > 0.4
    other = torch.where(mask[:, None], x, torch.full_like(x, float("nan")))
    twin = copy.deepcopy(layer)
    ours, theirs = layer(x, sample_weight=mask), twin(other, mask)
    kept = mask[:, None].expand_as(x)
    assert_close(theirs[kept], ours[kept])
    for key, value in statistics(layer).items():
        assert_close(twin.get_buffer(key), value, what=key)
    full = torch.ones(6, 3, 2)
    plain, weighted = build(name), build(name)
    assert_close(weighted(x, full), plain(x))
    for key, value in statistics(plain).items():
        assert_close(weighted.get_buffer(key), value, what=key)
    before = statistics(layer)
    assert layer(x, torch.zeros(6)).isfinite().all()
    for key, old in before.items():
        assert_close(layer.get_buffer(key), old, what=key)
    with pytest.raises(ArgumentError, match="`sample_weight` must be"):
        layer(x, torch.ones(5))


@pytest.mark.parametrize("name", [name for name in LAYERS if name != "MeanOnlyBatchNorm"])
def test_eps_must_be_positive(name: str) -> None:
    with pytest.raises(ArgumentError, match=r"2d.*: `eps` must be positive. Got 0.0"):
        build(name, eps=0.0)


@each
def test_the_description_has_all_arguments(name: str) -> None:
    pattern, options = LAYERS[name]
    text = repr(build(name).freeze_statistics())
    assert text.startswith(f"{pattern.replace('#', '2')}(")
    assert "statistics frozen" in text
    for key, value in options.items():
        assert f"{key}={value}" in text


@each
def test_torchs_converters_leave_the_layers_alone(name: str) -> None:
    layer = build(name)
    converted = nn.SyncBatchNorm.convert_sync_batchnorm(nn.Sequential(layer))
    assert converted[0] is layer
    assert not any(isinstance(part, nn.SyncBatchNorm) for part in converted.modules())
