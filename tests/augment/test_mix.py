"""Mixing operations: shares, partners, targets, seeds, messages."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from normwise.augment import MIXES, MixPolicy, build_both, build_mix
from normwise.errors import ArgumentError, UnknownNameError

N, K = 64, 5


def marked(n: int = N, h: int = 8, w: int = 10) -> tuple[Tensor, Tensor]:
    """Images whose pixels say whose they are and from where: number, row, column."""
    batch = torch.zeros(n, 3, h, w, dtype=torch.float64)
    batch[:, 0] = torch.arange(n)[:, None, None]
    batch[:, 1] = torch.arange(h)[:, None]
    batch[:, 2] = torch.arange(w)
    return batch, torch.arange(n) % K


def by_pixels(mixed: Tensor, labels: Tensor) -> Tensor:
    """Shares of the classes, by counting whose each pixel is."""
    owners = labels[mixed[:, 0].long()]
    return F.one_hot(owners, K).double().mean((1, 2))


@pytest.mark.parametrize("name", MIXES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_seeded_apart_from_global_state_and_of_the_batchs_dtype(name: str, dtype: torch.dtype) -> None:
    mix, (batch, labels) = build_mix(name), marked()
    batch = batch.to(dtype)
    before, state, numbers = batch.clone(), torch.get_rng_state(), np.random.get_state()[1].copy()
    images, targets = mix(batch, labels, K, seed=3)
    assert torch.equal(torch.get_rng_state(), state)
    assert np.array_equal(np.random.get_state()[1], numbers)
    assert torch.equal(batch, before)
    assert (images.shape, images.dtype) == (batch.shape, dtype)
    assert (targets.shape, targets.dtype) == (
        (N, K),
        torch.float64 if dtype is torch.float64 else torch.float32,
    )
    torch.testing.assert_close(targets.sum(1), torch.ones_like(targets[:, 0]))
    again = mix(batch, labels, K, seed=3)
    assert torch.equal(again[0], images)
    assert torch.equal(again[1], targets)
    assert not torch.equal(mix(batch, labels, K, seed=4)[0], images)


@pytest.mark.parametrize("name", ["cutmix", "mosaic"])
@pytest.mark.parametrize("seed", range(3))
def test_targets_are_the_shares_of_the_pixels_that_are_seen(name: str, seed: int) -> None:
    batch, labels = marked()
    images, targets = build_mix(name)(batch, labels, K, seed=seed)
    torch.testing.assert_close(targets, by_pixels(images, labels))
    assert ((targets > 0).sum(1) > 1).any()


def test_mixup_averages_inputs_and_targets_alike() -> None:
    rows = torch.randn(3000, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    mixed, numbers = build_mix("mixup:0.4")(rows, rows[:, 0] * 2 + 1, None, seed=0)
    torch.testing.assert_close(numbers, 2 * mixed[:, 0] + 1)
    # Read the weights off one-hot targets, and the partners off the classes.
    _, targets = build_mix("mixup:0.4")(rows, torch.arange(3000), 3000, seed=0)
    top = targets.topk(2)
    torch.testing.assert_close(mixed, (top.values[:, :, None] * rows[top.indices]).sum(1))
    first = targets.diagonal()
    # Beta(a, a) has mean 1/2 and variance 1 / (4·(2a + 1)).
    variance = 1 / (4 * (2 * 0.4 + 1))
    assert first.mean().item() == pytest.approx(0.5, abs=4 * math.sqrt(variance / 3000))
    assert first.var().item() == pytest.approx(variance, rel=0.05)


def test_mixup_of_sequences() -> None:
    series = torch.randn(6, 2, 7, dtype=torch.float64)
    mixed, shares = build_mix("mixup")(series, torch.eye(6, dtype=torch.float64), None, seed=1)
    torch.testing.assert_close(mixed, torch.einsum("ij,jcl->icl", shares, series))


def test_cutmix_pastes_one_box_in_place_of_areas_up_to_the_whole() -> None:
    batch, labels = marked(600, 20, 20)
    images, _ = build_mix("cutmix")(batch, labels, K, seed=0)
    assert torch.equal(images[:, 1:], batch[:, 1:])  # from where it was in the other
    pasted = images[:, 0] != batch[:, 0]
    box = pasted.any(1).sum(1) * pasted.any(2).sum(1)
    assert torch.equal(box, pasted.sum((1, 2)))
    assert pasted.any(0).all()
    assert all(len(image[0][box].unique()) <= 1 for image, box in zip(images, pasted, strict=True))
    # λ of Beta(1, 1): the box has a uniform area before it is cut, so at most that after.
    share = pasted.double().mean((1, 2))
    assert 0.2 < share.mean() < 0.5
    assert share.max() > 0.7


def test_cutmix_box_is_the_papers_before_it_is_cut() -> None:
    from normwise.augment.mix import _box

    side = np.linspace(0.1, 0.6, 2000)
    inside = _box(50, side, np.random.default_rng(0), torch.zeros(1))
    count = inside.sum(1).numpy()
    whole = ~(inside[:, 0] | inside[:, -1]).numpy()
    assert np.abs(count - 50 * side)[whole].max() <= 1
    assert (count <= 50 * side + 1).all()
    assert inside.any(0).all()


def test_mosaic_is_a_window_onto_four_images() -> None:
    batch, labels = marked(400, 10, 10)
    images, targets = build_mix("mosaic:0.6")(batch, labels, K, seed=0)
    stayed = (images == batch).flatten(1).all(1)
    assert stayed.double().mean().item() == pytest.approx(0.4, abs=4 * math.sqrt(0.24 / 400))
    torch.testing.assert_close(targets[stayed], F.one_hot(labels, K).double()[stayed])
    for image in images[~stayed][:50]:
        rows, columns = image[1, :, 0].long(), image[2, 0].long()
        # Pixels keep their order, and begin again where the next image does.
        top, left = int(rows[0]), int(columns[0])
        assert rows.tolist() == [(top + i) % 10 for i in range(10)]
        assert columns.tolist() == [(left + i) % 10 for i in range(10)]
        assert 3 <= top <= 7
        assert 3 <= left <= 7
        for part in (
            image[0, : 10 - top, : 10 - left],
            image[0, 10 - top :, : 10 - left],
            image[0, 10 - top :, 10 - left :],
        ):
            assert len(part.unique()) == 1
    own = images[~stayed, 0, 0, 0]
    assert torch.equal(own, batch[~stayed, 0, 0, 0])  # itself at the top left


@pytest.mark.parametrize("name", MIXES)
def test_probabilities_are_averaged_as_indices_are(name: str) -> None:
    batch, labels = marked()
    hard = build_mix(name)(batch, labels, K, seed=2)
    soft = build_mix(name)(batch, F.one_hot(labels, K).double(), None, seed=2)
    assert torch.equal(hard[0], soft[0])
    torch.testing.assert_close(hard[1], soft[1])
    loss = F.cross_entropy(torch.randn(N, K, dtype=torch.float64), hard[1])
    assert torch.isfinite(loss)


@pytest.mark.parametrize("name", MIXES)
@pytest.mark.parametrize("n", [0, 1])
def test_nothing_and_a_lonely_image(name: str, n: int) -> None:
    batch, labels = marked(n)
    images, targets = build_mix(name)(batch, labels, K, seed=0)
    assert images.shape == batch.shape
    torch.testing.assert_close(targets, F.one_hot(labels, K).double())


def test_specs_and_both_kinds_in_one_list() -> None:
    mix = build_mix(" mixup : 0.4")
    assert mix == MixPolicy("mixup", 0.4) == build_mix(mix.spec) == pickle.loads(pickle.dumps(mix))
    policy, both = build_both(["cutmix:0.5", "flip", "shift:0.2"])
    assert policy.specs == ("flip:0.5", "shift:0.2")
    assert both == build_mix("cutmix:0.5")
    assert build_both(["flip"])[1] is None
    with pytest.raises(ArgumentError, match=r"one operation may mix a batch\. Got 'mixup' and 'cutmix:2'"):
        build_both(["mixup", "cutmix:2"])


def test_bad_input_is_explained() -> None:
    batch, labels = marked()
    with pytest.raises(
        UnknownNameError, match=r"unknown operation 'mixpu'\. Did you mean 'mixup'.*cutmix, mixup, mosaic"
    ):
        build_mix("mixpu")
    with pytest.raises(ArgumentError, match=r"the magnitude must be above 0 and at most 1 .*'mosaic:2'"):
        build_mix("mosaic:2")
    with pytest.raises(ArgumentError, match=r"floating-point images of shape \(N, C, H, W\)"):
        build_mix("cutmix")(torch.zeros(4, 3), torch.zeros(4).long(), 2, seed=0)
    with pytest.raises(ArgumentError, match=r"one for each of the batch\. Got \(3,\) for 64"):
        build_mix("mixup")(batch, labels[:3], K, seed=0)
    with pytest.raises(ArgumentError, match="with their `num_classes`"):
        build_mix("mixup")(batch, labels, None, seed=0)
    with pytest.raises(ArgumentError, match="`num_classes` must be None for floating-point targets"):
        build_mix("mixup")(batch, labels.double(), K, seed=0)
