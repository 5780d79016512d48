"""Masks and weights: padding has no part, whatever it is."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from normwise import functional, layers
from normwise.errors import ArgumentError
from normwise.testing import assert_close

FOUR_ULPS = 4 / 64  # of float32's 64 in the table
EXAMPLES = settings(max_examples=40, deadline=None)


def sequences(
    lengths: list[int], channels: int, offset: float, seed: int
) -> tuple[list[Tensor], Tensor, Tensor]:
    """Sequences (C, L_i), the padded batch (N, C, L) full of NaN where there is nothing, and its mask (N, L)."""
    generator = torch.Generator().manual_seed(seed)
    whole = [torch.randn(channels, n, generator=generator) * 1.5 + offset for n in lengths]
    padded = torch.full((len(lengths), channels, max(lengths)), torch.nan)
    mask = torch.zeros(len(lengths), max(lengths), dtype=torch.bool)
    for i, sequence in enumerate(whole):
        padded[i, :, : lengths[i]] = sequence
        mask[i, : lengths[i]] = True
    return whole, padded, mask


LENGTHS = st.lists(st.integers(2, 40), min_size=2, max_size=6)


@EXAMPLES
@given(LENGTHS, st.integers(1, 9), st.sampled_from([0.0, 2.0, -30.0]), st.integers(0, 10**6))
def test_batch_norm_of_padded_sequences(lengths: list[int], channels: int, offset: float, seed: int) -> None:
    whole, padded, mask = sequences(lengths, channels, offset, seed)
    plain, masked = layers.BatchNorm1d(channels).double(), layers.BatchNorm1d(channels)
    flat = torch.cat(whole, dim=1).T.contiguous().double()
    expected = plain(flat)
    output = masked(padded, mask)
    assert_close(output.movedim(1, 2)[mask], expected, what="output", factor=FOUR_ULPS)
    for name in ("running_mean", "running_var"):
        mine, other = masked.get_buffer(name), plain.get_buffer(name)
        assert_close(mine, other, what=name, factor=FOUR_ULPS, scale=1.0)  # a mean is a sum that cancels


@EXAMPLES
@given(
    LENGTHS, st.integers(1, 4), st.sampled_from([1, 2]), st.sampled_from([0.0, -30.0]), st.integers(0, 10**6)
)
def test_group_and_instance_norm_of_padded_sequences(
    lengths: list[int], width: int, groups: int, offset: float, seed: int
) -> None:
    channels = width * groups
    whole, padded, mask = sequences(lengths, channels, offset, seed)
    for layer in (layers.GroupNorm(groups, channels), layers.InstanceNorm1d(channels, affine=True)):
        output = layer(padded, mask)
        for i, sequence in enumerate(whole):
            expected = copy.deepcopy(layer).double()(sequence[None].double())[0]
            assert_close(output[i, :, : lengths[i]], expected, what="output", factor=FOUR_ULPS)


@EXAMPLES
@given(LENGTHS, st.integers(1, 9), st.sampled_from([0.0, -30.0]), st.integers(0, 10**6))
def test_layer_norm_over_sets(lengths: list[int], channels: int, offset: float, seed: int) -> None:
    whole, padded, mask = sequences(lengths, channels, offset, seed)
    longest = max(lengths)
    layer = layers.LayerNorm((longest, channels), elementwise_affine=False)
    output = layer(padded.movedim(1, 2), mask.unsqueeze(-1))
    for i, sequence in enumerate(whole):
        alone = functional.layer_norm(sequence.T.contiguous().double(), (lengths[i], channels))
        assert_close(output[i, : lengths[i]], alone, what="output", factor=FOUR_ULPS)


FORMS: dict[str, Callable[[], nn.Module]] = {
    "batch": lambda: layers.BatchNorm1d(4),
    "batch, fused": lambda: layers.BatchNormAct1d(4, activation="relu"),
    "group": lambda: layers.GroupNorm(2, 4),
    "group, fused": lambda: layers.GroupNormAct(2, 4, activation="silu"),
    "instance": lambda: layers.InstanceNorm1d(4, affine=True, track_running_stats=True),
    "instance, fused": lambda: layers.InstanceNormAct1d(4, affine=True),
}


@pytest.mark.parametrize("name", FORMS)
def test_padding_gets_no_gradient_and_gives_none(name: str) -> None:
    """Behind a mask, gradients of valid elements are those of the sequences alone."""
    _, padded, mask = sequences([5, 3, 7], 4, 0.5, 0)
    padded = padded.nan_to_num(nan=0.25)
    cotangent = torch.randn(padded.shape, generator=torch.Generator().manual_seed(1)) * mask.unsqueeze(1)
    results = []
    for filling in (0.25, 1e3, 1e30, torch.inf, torch.nan):
        layer = FORMS[name]().train()
        x = padded.masked_fill(~mask.unsqueeze(1), filling).requires_grad_()
        layer(x, sample_weight=mask).backward(cotangent)
        assert x.grad is not None
        assert x.grad.movedim(1, 2)[~mask].abs().max() == 0
        results.append((x.grad, [p.grad for p in layer.parameters()], dict(layer.named_buffers())))
    first, ours, buffers = results[0]
    assert first.abs().max() > 0.01
    for second, theirs, others in results[1:]:
        assert_close(second, first, what="gradient of the input")
        for mine, other in zip(ours, theirs, strict=True):
            assert_close(other, mine, what="gradient of a parameter")
        for key in buffers:
            assert_close(others[key], buffers[key], what=key)


@pytest.mark.parametrize("name", FORMS)
def test_gradients_with_weights_are_those_of_differences(name: str) -> None:
    layer = FORMS[name]().double().train()
    x = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_()
    part = torch.rand(3, 5, generator=torch.Generator().manual_seed(1)) * 2
    part[1, 2:] = 0
    assert torch.autograd.gradcheck(lambda x: layer(x, sample_weight=part), x)


@pytest.mark.parametrize("name", FORMS)
def test_a_mask_of_all_is_no_mask(name: str) -> None:
    x = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0))
    plain, masked = FORMS[name](), FORMS[name]()
    assert_close(masked(x, sample_weight=torch.ones(3, 5, dtype=torch.bool)), plain(x), factor=FOUR_ULPS)
    assert_close(masked(x, sample_weight=torch.ones(3)), plain(x), factor=FOUR_ULPS)


@pytest.mark.parametrize("name", FORMS)
def test_nothing_but_padding_is_finite_and_moves_nothing(name: str) -> None:
    layer = FORMS[name]()
    before = {key: value.clone() for key, value in layer.named_buffers()}
    x = torch.randn(3, 4, 5).requires_grad_()
    output = layer(x, sample_weight=torch.zeros(3, 5, dtype=torch.bool))
    output.backward(torch.ones_like(output))
    assert output.isfinite().all()
    assert x.grad.isfinite().all()
    for key in ("running_mean", "running_var"):
        if key in before:
            assert torch.equal(layer.get_buffer(key), before[key])


def test_a_packed_sequence_is_normalized_over_its_values() -> None:
    lengths = torch.tensor([5, 3, 2])
    whole, padded, _ = sequences(lengths.tolist(), 4, 0.5, 0)
    packed = pack_padded_sequence(padded.movedim(1, 2), lengths, batch_first=True)
    output, _ = pad_packed_sequence(layers.BatchNorm1d(4)(packed), batch_first=True)
    expected = layers.BatchNorm1d(4)(torch.cat(whole, dim=1).T.contiguous())
    rows = torch.cat([output[i, :n] for i, n in enumerate(lengths)])
    assert_close(rows, expected, factor=FOUR_ULPS)


def test_what_is_no_tensor_is_refused() -> None:
    packed = pack_padded_sequence(torch.randn(2, 3, 4), torch.tensor([3, 1]), batch_first=True)
    for layer, input in ((layers.BatchNorm1d(4), [[1.0]]), (layers.BatchNorm2d(4), packed)):
        with pytest.raises(ArgumentError, match=r"the input must be a tensor\. Got (list|PackedSequence)"):
            layer(input)


def test_weights_of_another_shape_are_refused() -> None:
    x = torch.randn(3, 4, 5)
    for layer in (layers.BatchNorm1d(4), layers.GroupNorm(2, 4), layers.InstanceNorm1d(4)):
        with pytest.raises(
            ArgumentError, match=r"`sample_weight` must be \(N, \*\), here \(3, 5\), or \(N,\)"
        ):
            layer(x, torch.ones(3, 4))
    with pytest.raises(ArgumentError, match="positions do not mix and need no mask"):
        layers.LayerNorm(5)(x, torch.ones(3, 4))
    with pytest.raises(ArgumentError, match="padding has no part in the other positions"):
        layers.LayerNormAct1d(4)(x, sample_weight=torch.ones(3, 5))
