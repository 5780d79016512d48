"""Random layers on random inputs against torch's own: outputs, gradients, running statistics."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import Tensor, nn

from normwise import layers
from normwise.testing import assert_close, assert_no_worse

EXAMPLES = settings(max_examples=40, deadline=None, derandomize=True)
FORMATS = {4: torch.channels_last, 5: torch.channels_last_3d}
DTYPES = (torch.float32, torch.float64, torch.bfloat16)


def batch_options(draw: st.DrawFn) -> dict[str, Any]:
    return {
        "eps": draw(st.sampled_from([1e-5, 1e-2])),
        "momentum": draw(st.sampled_from([0.1, 0.9, None])),
        "affine": draw(st.booleans()),
        "track_running_stats": draw(st.booleans()),
        "bias": draw(st.booleans()),
    }


def instance_options(draw: st.DrawFn) -> dict[str, Any]:
    return batch_options(draw) | {"momentum": draw(st.sampled_from([0.1, 0.9]))}


@st.composite
def pairs(draw: st.DrawFn, family: str) -> tuple[nn.Module, nn.Module, list[Tensor]]:
    """Our layer, torch's with the same state, and three inputs."""
    rank = draw(st.integers(1, 3))
    channels = draw(st.sampled_from([1, 3, 8]))
    flat = family == "BatchNorm" and rank == 1 and draw(st.booleans())
    positions = () if flat else tuple(draw(st.integers(2, 5)) for _ in range(rank))
    samples = draw(st.sampled_from([2, 3, 5] if flat else [1, 2, 5]))
    shape = (samples, channels, *positions)
    dtype = draw(st.sampled_from(DTYPES))
    if family in ("BatchNorm", "InstanceNorm"):
        options = batch_options(draw) if family == "BatchNorm" else instance_options(draw)
        args: tuple[Any, ...] = (channels,)
        ours, theirs = (getattr(module, f"{family}{rank}d") for module in (layers, nn))
    else:
        ours, theirs = (getattr(module, family) for module in (layers, nn))
        options = {"eps": draw(st.sampled_from([1e-5, 1e-2]))}
        if family == "GroupNorm":
            args = (draw(st.sampled_from([d for d in (1, 2, 4, 8) if channels % d == 0])), channels)
            options |= {"affine": draw(st.booleans()), "bias": draw(st.booleans())}
        else:
            args = (shape[draw(st.integers(1, len(shape) - 1)) :],)
            options |= {"elementwise_affine": draw(st.booleans())}
            options |= {"bias": draw(st.booleans())} if family == "LayerNorm" else {}
    generator = torch.Generator().manual_seed(draw(st.integers(0, 1000)))
    mine, other = ours(*args, **options, dtype=dtype), theirs(*args, **options, dtype=dtype)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3 + 1)
    mine.load_state_dict(other.state_dict())
    inputs = [torch.randn(shape, generator=generator).mul(2).add(0.5).to(dtype) for _ in range(3)]
    if len(shape) in FORMATS and draw(st.booleans()):
        inputs = [x.contiguous(memory_format=FORMATS[len(shape)]) for x in inputs]
    return mine, other, inputs


@pytest.mark.parametrize("family", ["BatchNorm", "InstanceNorm", "GroupNorm", "LayerNorm", "RMSNorm"])
@EXAMPLES
@given(data=st.data())
def test_three_steps(family: str, data: st.DataObject) -> None:
    ours, theirs, inputs = data.draw(pairs(family))
    assert isinstance(ours, type(theirs))
    assert repr(ours) == repr(theirs)
    exact = copy.deepcopy(theirs).double()
    for step, x in enumerate(inputs):
        training = step < 2
        for layer in (ours, theirs, exact):
            layer.train(training)
        mine, others, expected = _step(ours, x), _step(theirs, x), _step(exact, x.double())
        assert mine.keys() - {"num_batches_skipped"} == others.keys()  # torch does not count these
        for name, value in others.items():
            # Torch lets running statistics of a narrow model be narrow.
            kept = name.startswith("running") and value.dtype in (torch.float16, torch.bfloat16)
            assert mine[name].dtype == (torch.float32 if kept else value.dtype)
            # Torch's own gradients can be far off in narrow dtypes; then ours must not be further off.
            # A parameter's gradient is a sum over samples and positions, and errs like its terms.
            assert_no_worse(
                mine[name], value, expected[name], what=f"{name}, step {step}", scale=_scale(x, name)
            )


def _scale(x: Tensor, name: str) -> float:
    return 4.0 * (x.numel() / 4) ** 0.5 if name.startswith("gradient of p") else 4.0


def _step(layer: nn.Module, input: Tensor) -> dict[str, Tensor]:
    x = input.detach().clone().requires_grad_()
    output = layer(x)
    cotangent = torch.randn(output.shape, generator=torch.Generator().manual_seed(7)).to(output.dtype)
    leaves = {"input": x, **{f"parameter {name}": p for name, p in layer.named_parameters()}}
    gradients = torch.autograd.grad(output, list(leaves.values()), cotangent)
    result = {f"gradient of {name}": g for name, g in zip(leaves, gradients, strict=True)}
    return {"output": output, **result, **{name: b.clone() for name, b in layer.named_buffers()}}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_cumulative_statistics_are_the_plain_average(dtype: torch.dtype) -> None:
    ours, theirs = (
        layers.BatchNorm1d(3, momentum=None, dtype=dtype),
        nn.BatchNorm1d(3, momentum=None, dtype=dtype),
    )
    generator = torch.Generator().manual_seed(0)
    batches = [torch.randn(4, 3, generator=generator, dtype=torch.float64) for _ in range(7)]
    for batch in batches:
        ours(batch.to(dtype))
        theirs(batch.to(dtype))
    assert ours.num_batches_tracked == 7
    average = torch.stack([batch.mean(0) for batch in batches]).mean(0)
    assert_close(ours.running_mean, average, what="running mean")
    assert_close(ours.running_mean, theirs.running_mean, what="running mean against torch")
    assert_close(ours.running_var, theirs.running_var, what="running variance against torch")


@pytest.mark.parametrize("name", ["BatchNorm1d", "BatchNorm2d", "BatchNorm3d"])
def test_torchs_converters_know_the_layers(name: str) -> None:
    layer = getattr(layers, name)(4)
    converted = nn.SyncBatchNorm.convert_sync_batchnorm(nn.Sequential(layer))
    assert isinstance(converted[0], nn.SyncBatchNorm)
    assert isinstance(layer, getattr(nn, name))


def test_a_checkpoint_from_before_the_counter_loads() -> None:
    for make in (layers.BatchNorm2d, layers.BatchNormAct2d):
        state = nn.BatchNorm2d(3).state_dict()
        del state["num_batches_tracked"]
        state._metadata = {"": {"version": 1}}
        make(3).load_state_dict(state, strict=True)


def test_resets() -> None:
    for make in (layers.BatchNorm1d, layers.BatchNormAct1d):
        layer = make(3)
        fresh = copy.deepcopy(layer.state_dict())
        layer(torch.randn(8, 3))
        with torch.no_grad():
            layer.weight.fill_(2.0)
            layer.bias.fill_(2.0)
        changed = {name for name, value in layer.state_dict().items() if not torch.equal(value, fresh[name])}
        assert changed == set(fresh)
        layer.reset_running_stats()
        assert layer.num_batches_tracked == 0
        assert layer.weight[0] == 2.0
        layer(torch.randn(8, 3))
        layer.reset_parameters()
        assert all(torch.equal(value, fresh[name]) for name, value in layer.state_dict().items())


@pytest.mark.parametrize("training", [True, False])
def test_tracking_turned_off_later(training: bool) -> None:
    x = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
    ours, theirs = layers.BatchNorm1d(3).train(training), nn.BatchNorm1d(3).train(training)
    ours.track_running_stats = theirs.track_running_stats = False
    assert_close(ours(x), theirs(x))
    for name, other in theirs.named_buffers():
        assert torch.equal(ours.get_buffer(name), other), name
    assert ours.running_mean.abs().max() == 0
