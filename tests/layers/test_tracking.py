"""Running statistics that stay right: non-finite batches, recomputation, narrow models, freezing, single samples."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from normwise import layers
from normwise.errors import ArgumentError, UnknownNameError
from normwise.kernels.cpu import library
from normwise.kernels.registry import use_backend
from normwise.testing import assert_close

BACKENDS = ["aten"] + [name for name in ("portable", "native") if getattr(library, name)() is not None]
Make = Callable[..., nn.Module]
LAYERS: dict[str, tuple[Make, tuple[int, ...]]] = {
    "BatchNorm1d": (layers.BatchNorm1d, (8, 4)),
    "BatchNorm2d": (layers.BatchNorm2d, (5, 4, 3, 3)),
    "BatchNormAct2d": (lambda n, **o: layers.BatchNormAct2d(n, activation="relu", **o), (5, 4, 3, 3)),
    "SyncBatchNorm": (layers.SyncBatchNorm, (5, 4, 3)),
    "InstanceNorm2d": (lambda n, **o: layers.InstanceNorm2d(n, track_running_stats=True, **o), (5, 4, 3, 3)),
    "InstanceNormAct1d": (
        lambda n, **o: layers.InstanceNormAct1d(n, track_running_stats=True, **o),
        (5, 4, 6),
    ),
}
BATCH = [name for name in LAYERS if not name.startswith("Instance")]


def drawn(shape: tuple[int, ...], seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * 2 + 1


def statistics(layer: nn.Module) -> list[Tensor]:
    return [layer.get_buffer(name).clone() for name in ("running_mean", "running_var", "num_batches_tracked")]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf, 1e30])
@pytest.mark.parametrize("momentum", [0.1, None])
@pytest.mark.parametrize("name", LAYERS)
def test_a_batch_that_is_not_finite_moves_nothing(
    name: str, momentum: float | None, value: float, backend: str
) -> None:
    make, shape = LAYERS[name]
    if momentum is None and name not in BATCH:
        momentum = 0.3  # torch's instance normalization has no cumulative average
    layer = make(4, momentum=momentum)
    with use_backend(backend):
        layer(drawn(shape))
        before = statistics(layer)
        bad = drawn(shape, 1)
        bad.view(len(bad), 4, -1)[1, 2, 0] = value
        output = layer(bad)
        assert not output[:, 2].isfinite().all() or value == 1e30
        assert all(torch.equal(a, b) for a, b in zip(statistics(layer), before, strict=True))
        assert layer.num_batches_skipped == 1
        # What comes next is as if the batch had not been.
        other = make(4, momentum=momentum)
        for each, seeds in ((other, (0, 2)), (layer, (2,))):
            for seed in seeds:
                each(drawn(shape, seed))
    for mine, theirs in zip(statistics(layer), statistics(other), strict=True):
        assert_close(mine, theirs)
    assert "num_batches_skipped" not in layer.state_dict()
    layer.reset_running_stats()
    assert layer.num_batches_skipped == 0


def test_torch_is_poisoned_for_ever() -> None:
    """The hurt of pt#115500, so that the test above would notice if it were about nothing."""
    layer, x = nn.BatchNorm1d(4), drawn((8, 4))
    x[1, 2] = torch.inf
    layer(x)
    for seed in range(200):
        layer(drawn((8, 4), seed))
    assert layer.running_var.isnan().any()


@pytest.mark.parametrize("name", BATCH)
def test_statistics_that_were_broken_before_stay_visible(name: str) -> None:
    make, shape = LAYERS[name]
    layer = make(4)
    with torch.no_grad():
        layer.running_var[1] = torch.nan
    for backend in BACKENDS:
        with use_backend(backend):
            layer(drawn(shape))
    assert layer.running_var.isnan().tolist() == [False, True, False, False]
    assert layer.num_batches_tracked == len(BACKENDS)


@pytest.mark.parametrize("name", BATCH)
def test_a_compiled_layer_leaves_out_what_is_not_finite(name: str) -> None:
    make, shape = LAYERS[name]
    layer = make(4)
    torch.compiler.reset()
    program = torch.compile(layer, backend="aot_eager", fullgraph=True)
    bad = drawn(shape)
    bad[0, 0] = torch.nan
    for x in (bad, drawn(shape, 1)):
        program(x)
    other = make(4)
    other(drawn(shape, 1))
    for mine, theirs in zip(statistics(layer), statistics(other), strict=True):
        assert_close(mine, theirs)
    assert layer.num_batches_skipped == 1


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("reentrant", [True, False])
@pytest.mark.parametrize("name", LAYERS)
def test_one_update_under_checkpointing(name: str, reentrant: bool, backend: str) -> None:
    make, shape = LAYERS[name]
    layer, plain = make(4), make(4)
    x = drawn(shape).requires_grad_()
    with use_backend(backend):
        checkpoint(layer, x, use_reentrant=reentrant).square().sum().backward()
        plain(drawn(shape))
    for mine, theirs in zip(statistics(layer), statistics(plain), strict=True):
        assert_close(mine, theirs)
    if name in BATCH:
        assert layer.num_batches_tracked == 1


def test_a_pass_without_gradients_counts() -> None:
    """As `torch.optim.swa_utils.update_bn` has it: the rule is not grad mode."""
    layer = layers.BatchNorm1d(4)
    with torch.no_grad():
        layer(drawn((8, 4)))
    assert layer.num_batches_tracked == 1


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", LAYERS)
def test_running_statistics_stay_float32_in_a_narrow_model(name: str, dtype: torch.dtype) -> None:
    make, shape = LAYERS[name]
    layer = make(4)
    layer(drawn(shape))
    before = statistics(layer)
    layer = layer.to(dtype)
    assert layer.running_mean.dtype == layer.running_var.dtype == torch.float32
    assert all(torch.equal(a, b) for a, b in zip(statistics(layer), before, strict=True))
    assert layer(drawn(shape).to(dtype)).dtype == dtype
    assert make(4, dtype=dtype).running_var.dtype == torch.float32
    assert layer.double().running_var.dtype == torch.float64


@pytest.mark.parametrize("backend", BACKENDS)
def test_small_steps_add_up_in_bfloat16(backend: str) -> None:
    """With bfloat16 buffers a momentum of 0.001 stalls: half a unit of 2 is 0.004 (torch ends at 2.0, as shown)."""
    ours, theirs = layers.BatchNorm1d(1, momentum=1e-3), nn.BatchNorm1d(1, momentum=1e-3)
    for layer in (ours, theirs):
        layer.running_var.fill_(2.0)
        layer.to(torch.bfloat16)
        with use_backend(backend):
            for seed in range(3000):
                generator = torch.Generator().manual_seed(seed)
                layer((torch.randn(256, 1, generator=generator) * 2).to(torch.bfloat16))
    assert ours.running_var.item() == pytest.approx(4 - 2 * 0.999**3000, rel=0.02)
    assert theirs.running_var.item() == 2.0


def test_autocast_leaves_statistics_in_float32() -> None:
    model = nn.Sequential(nn.Linear(4, 4), layers.BatchNorm1d(4))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        model(drawn((8, 4)))
    assert model[1].running_var.dtype == torch.float32
    assert model[1].num_batches_tracked == 1


@pytest.mark.parametrize("name", LAYERS)
def test_frozen_statistics_survive_train(name: str) -> None:
    make, shape = LAYERS[name]
    layer = make(4)
    layer(drawn(shape))
    before, x = statistics(layer), drawn(shape, 1)
    expected = copy.deepcopy(layer).eval()(x)
    for frozen in (layer.freeze_statistics(), copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        frozen.eval()
        frozen.train()
        assert_close(frozen(x), expected)
        assert all(torch.equal(a, b) for a, b in zip(statistics(frozen), before, strict=True))
        assert "statistics frozen" in repr(frozen)
    layer.freeze_statistics(False)(x)
    assert not torch.equal(layer.running_mean, before[0])


def test_affine_and_statistics_are_frozen_apart() -> None:
    layer = layers.BatchNorm2d(4)
    layer.freeze_affine().train()
    layer(drawn((5, 4, 3, 3)))
    assert layer.num_batches_tracked == 1
    assert not layer.weight.requires_grad
    assert not layer.bias.requires_grad
    layer.freeze_statistics().freeze_affine(False)
    x = drawn((5, 4, 3, 3)).requires_grad_()
    layer(x).square().sum().backward()
    assert layer.num_batches_tracked == 1
    assert layer.weight.grad is not None
    # Frozen statistics are constants: no gradient goes through them.
    slope = layer.weight / torch.sqrt(layer.running_var + layer.eps)
    expected = 2 * layer.eval()(x) * slope.view(1, -1, 1, 1)
    assert_close(x.grad, expected, what="gradient")


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", BATCH)
def test_a_single_sample_can_take_the_running_statistics(name: str, backend: str) -> None:
    make, shape = LAYERS[name]
    layer = make(4, single_sample="running")
    one = drawn((1, 4, *(1 for _ in shape[2:])), 5)
    with use_backend(backend):
        layer(drawn(shape))
        before = statistics(layer)
        output = layer(one)
        assert_close(output, copy.deepcopy(layer).eval()(one))
        assert all(torch.equal(a, b) for a, b in zip(statistics(layer), before, strict=True))
        layer(drawn(shape, 2))
        assert layer.num_batches_tracked == 2
        with pytest.raises(ValueError, match="Expected more than 1 value per channel"):
            make(4)(one)
    assert "single_sample='running'" in repr(layer)


def test_the_policy_has_two_names() -> None:
    with pytest.raises(UnknownNameError, match="raise, running"):
        layers.BatchNorm1d(4, single_sample="skip")


@pytest.mark.parametrize(("rank", "shape"), [(1, (4, 3, 5)), (2, (4, 3, 2, 2)), (3, (4, 3, 2, 2, 2))])
def test_keras_convention_is_that_of_keras(
    rank: int, shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    import keras  # after the back end is named

    ours = layers.keras_batch_norm(3, rank)
    theirs = keras.layers.BatchNormalization(axis=1)
    for seed in range(3):
        x = drawn(shape, seed)
        expected = theirs(x, training=True)
        assert_close(ours(x), expected.detach())
    assert_close(ours.running_mean, theirs.moving_mean.value.detach())
    assert_close(ours.running_var, theirs.moving_variance.value.detach())
    expected = theirs(x, training=False)
    assert_close(ours.eval()(x), expected.detach())
    # Torch's variance would be a seventh or so larger: the convention is no rounding error.
    plain = layers.BatchNorm3d(3, 1e-3, 0.01) if rank == 3 else None
    if plain is not None:
        for seed in range(3):
            plain(drawn(shape, seed))
        assert not torch.allclose(plain.running_var, ours.running_var, rtol=1e-5)


def test_keras_without_scale_or_centre() -> None:
    layer = layers.keras_batch_norm(3, 1, scale=False)
    assert not layer.weight.requires_grad
    assert layer.bias.requires_grad
    assert layers.keras_batch_norm(3, 1, center=False).bias is None
    assert layers.keras_batch_norm(3, 1, center=False, scale=False).weight is None
    with pytest.raises(ArgumentError, match=r"Keras has 0\.99"):
        layers.keras_batch_norm(3, momentum=99)
    with pytest.raises(ArgumentError, match="`rank` must be 1, 2 or 3"):
        layers.keras_batch_norm(3, 4)
