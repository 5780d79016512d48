"""What hurts users of normalization most, numbered as people reported it: shown to hurt elsewhere, and cured here.

A test runs torch's way, too, so that it fails when torch mends the hurt and nothing is left to cure. What a layer
cannot cure is not here: training scripts, other packages' converters, and defaults that a drop-in layer must share.
"""

from __future__ import annotations

import copy
import warnings
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from normwise import functional, layers, surgery
from normwise.layers import accumulate_statistics, lockstep, weight_norm
from normwise.regularizers import parameter_groups
from normwise.testing import assert_close


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_1_train_and_evaluation_differ_by_the_variance_that_is_kept() -> None:
    """pt#4741, pt#19902: four values are normalized by the biased variance, and later by 4/3 of it."""
    x = drawn(4, 3) * 2 + 1
    gaps = {}
    for name, layer in (
        ("torch", nn.BatchNorm1d(3, momentum=1.0)),
        ("ours", layers.BatchNorm1d(3, momentum=1.0, biased_running_var=True)),
    ):
        gaps[name] = (layer(x) - layer.eval()(x)).abs().max().item()
    assert gaps["torch"] > 0.1
    assert gaps["ours"] < 1e-5


def test_2_a_last_batch_of_one() -> None:
    """fastai#1352."""
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        nn.BatchNorm1d(3)(drawn(1, 3))
    layer = layers.BatchNorm1d(3, single_sample="running")
    assert layer(drawn(1, 3)).isfinite().all()


def test_3_freezing_is_undone_by_train() -> None:
    """pt#86590, lightning#15063."""
    ours, theirs = nn.Sequential(layers.BatchNorm1d(3).freeze_statistics()), nn.Sequential(nn.BatchNorm1d(3))
    theirs[0].eval()
    for model in (ours, theirs):
        model.train()
        model(drawn(8, 3))
    assert theirs[0].num_batches_tracked == 1
    assert ours[0].num_batches_tracked == 0


@pytest.mark.parametrize("reentrant", [True, False])
def test_4_checkpointing_updates_twice(reentrant: bool) -> None:
    """pt#96136."""
    counts = []
    for layer in (nn.BatchNorm1d(3), layers.BatchNorm1d(3)):
        x = drawn(8, 3).requires_grad_()
        checkpoint(layer, x, use_reentrant=reentrant).square().sum().backward()
        counts.append(layer.num_batches_tracked.item())
    assert counts == [2, 1]


def test_5_accumulated_micro_batches_are_not_the_large_batch() -> None:
    """pt#46516: four batches of two are not one of eight."""
    x = drawn(8, 3) * torch.arange(1.0, 9.0)[:, None]
    expected = nn.BatchNorm1d(3)
    whole = expected(x)
    parts = nn.BatchNorm1d(3)
    assert (torch.cat([parts(part) for part in x.split(2)]) - whole).abs().max() > 0.5
    assert_close(torch.cat(lockstep(layers.BatchNorm1d(3), x.split(2))), whole)
    ours = layers.BatchNorm1d(3)
    with accumulate_statistics(ours):
        for part in x.split(2):
            ours(part)
    assert_close(ours.running_var, expected.running_var)
    assert not torch.allclose(parts.running_var, expected.running_var, rtol=0.1)


def test_6_padding_pollutes_statistics() -> None:
    """pt#70529, pt#81985: true mean and variance 3 and 4, 55 % of the tokens valid."""
    valid = torch.arange(4000).view(40, 100) % 100 < 55
    tokens = (drawn(40, 100) * 2 + 3) * valid
    layer, theirs = layers.BatchNorm1d(1, momentum=1.0), nn.BatchNorm1d(1, momentum=1.0)
    layer(tokens.unsqueeze(1), valid)
    theirs(tokens.unsqueeze(1))
    assert abs(theirs.running_mean.item() - 3) > 1
    assert layer.running_mean.item() == pytest.approx(3, abs=0.15)
    assert layer.running_var.item() == pytest.approx(4, abs=0.3)


class _WithActivation(nn.BatchNorm2d):
    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input).relu()


def test_7_and_8_synchronization_drops_activations_and_has_no_way_back() -> None:
    """pt#187298, timm#1254, pt#41081."""
    theirs = nn.SyncBatchNorm.convert_sync_batchnorm(nn.Sequential(_WithActivation(3)))
    x = drawn(2, 3, 4, 4)
    assert theirs.eval()(x).min() < 0  # the activation is gone
    model, edits = surgery.synchronize(
        nn.Sequential(_WithActivation(3), layers.BatchNormAct2d(3, activation="relu"))
    )
    assert model.eval()(x).min() >= 0
    assert not edits["0"].changed  # what cannot be converted is left alone and named
    assert model.train()(x).min() >= 0  # runs on the CPU
    assert len(surgery.desynchronize(model)[1]) == 1


def test_9_instance_norm_loses_channels_last() -> None:
    """pt#72341, pt#111824."""
    x = drawn(2, 3, 4, 4).to(memory_format=torch.channels_last)
    assert not nn.InstanceNorm2d(3)(x).is_contiguous(memory_format=torch.channels_last)
    assert layers.InstanceNorm2d(3)(x).is_contiguous(memory_format=torch.channels_last)


def test_10_layer_norm_over_channels_first() -> None:
    """pt#71465: torch's normalizes the trailing axes alone."""
    x = drawn(2, 3, 4, 4)
    with pytest.raises(RuntimeError, match="Given normalized_shape"):
        nn.LayerNorm(3)(x)
    expected = nn.LayerNorm(3)(x.movedim(1, -1)).movedim(-1, 1)
    assert_close(layers.LayerNorm2d(3)(x), expected)


def test_11_one_batch_poisons_running_statistics() -> None:
    """pt#115500, pt#90342; with more in test_tracking.py."""
    bad = drawn(8, 3)
    bad[0, 0] = torch.inf
    results = []
    for layer in (nn.BatchNorm1d(3), layers.BatchNorm1d(3)):
        layer(bad)
        for seed in range(20):
            layer(drawn(8, 3, seed=seed))
        results.append(bool(layer.eval()(drawn(8, 3)).isfinite().all()))
    assert results == [False, True]


def test_12_two_forwards_before_a_backward() -> None:
    """pt#22095: buffers that are written between two passes (as DDP broadcasts them) break the first one's backward."""
    failures = []
    for make in (nn.BatchNorm1d, layers.BatchNorm1d):
        layer, x = make(3).eval(), drawn(8, 3).requires_grad_()
        y = layer(x)
        with torch.no_grad():
            layer.running_mean.copy_(torch.zeros(3))
        try:
            y.sum().backward()
            failures.append(False)
        except RuntimeError:
            failures.append(True)
    assert failures == [True, False]


def test_13_momentum_none_under_compile() -> None:
    """pt#194504."""
    results = []
    for layer in (nn.BatchNorm1d(3, momentum=None), layers.BatchNorm1d(3, momentum=None)):
        torch.compiler.reset()
        try:
            torch.compile(layer, backend="aot_eager", fullgraph=True)(drawn(8, 3))
            results.append(layer.num_batches_tracked.item())
        except Exception:
            results.append("failed")
    assert results == ["failed", 1]


def test_14_statistics_under_a_map() -> None:
    """pt#85533: buffers cannot move in place under vmap; as values they can."""
    x = drawn(5, 8, 3)
    with pytest.raises(RuntimeError, match="Batch norm got a batched tensor"):
        torch.func.vmap(nn.BatchNorm1d(3))(x)
    state = functional.Statistics.initial(3)
    y, new = torch.func.vmap(lambda batch: functional.batch_norm_pure(batch, state))(x)
    assert y.shape == x.shape
    assert new.mean.shape == (5, 3)


def test_16_a_fused_layer_is_no_batch_norm_for_torchs_fuser() -> None:
    """pt#104593 and others: what a fuser does not know it must not fold."""
    model = nn.Sequential(nn.Conv2d(3, 4, 1), layers.BatchNormAct2d(4, activation="relu")).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torch.fx.experimental.optimization import fuse

        fused = fuse(model)
    x = drawn(2, 3, 4, 4)
    assert_close(fused(x), model(x))


def test_18_weight_decay_on_norms_and_biases() -> None:
    """pt#1402, pt#115935."""
    model = nn.Sequential(nn.Linear(3, 4), layers.BatchNorm1d(4), layers.RMSNorm(4))
    decayed, spared = (group["params"] for group in parameter_groups(model, 0.1))
    assert [p is model[0].weight for p in decayed] == [True]
    assert len(spared) == 4


def test_20_keras_conventions() -> None:
    """Momentum .99 is torch's .01, eps 1e-3, and four values have a biased variance of 3/4 of the unbiased one."""
    x = drawn(4, 3)
    keras, plain = layers.keras_batch_norm(3, 1, momentum=0.0), layers.BatchNorm1d(3, momentum=1.0)
    for layer in (keras, plain):
        layer(x)
    assert_close(plain.running_var / keras.running_var, torch.full((3,), 4 / 3))


def test_22_a_weight_of_zero_length() -> None:
    """torch's weight normalization gives NaN."""
    x, results = drawn(2, 3), []
    for wrap in (nn.utils.parametrizations.weight_norm, weight_norm):
        linear = nn.Linear(3, 4)
        with torch.no_grad():
            linear.weight[1] = 0
        results.append(bool(wrap(linear)(x).isfinite().all()))
    assert results == [False, True]


def test_24_a_remainder_of_a_ghost_batch() -> None:
    """keras#15790; Composer's raises in evaluation and with momentum=None."""
    layer = layers.GhostBatchNorm1d(3, ghost_size=4, momentum=None)
    for size in (8, 9, 2, 5):
        assert layer(drawn(size, 3)).isfinite().all()
    assert layer.num_batches_tracked == 4
    assert list(layer.state_dict()) == list(nn.BatchNorm1d(3).state_dict())
    assert layer.eval()(drawn(1, 3)).shape == (1, 3)


@pytest.mark.parametrize("make", [partial(layers.BatchNorm1d, 3), partial(layers.BatchNormAct1d, 3)])
def test_a_model_is_copied_with_all_of_that(make: partial[nn.Module]) -> None:
    layer = make(single_sample="running").freeze_statistics()
    twin = copy.deepcopy(layer)
    assert (twin.single_sample, twin.statistics_frozen) == ("running", True)
