"""RandAugment, TrivialAugment and AugMix: their operations against PIL, their draws, and what black and white are."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps
from torch import Tensor

from normwise.augment import OPERATIONS, _space, auto, build
from normwise.errors import ArgumentError

REACH = _space.Reach(shear=0.5, translate=0.25, rotate=90, enhance=0.8, bits=5)
STEPS = _space.geometric(REACH) | _space.tonal(REACH) | _space.enhancing(REACH)
POLICIES = ("randaugment", "trivialaugment", "augmix")


def levels(n: int = 1, c: int = 3, h: int = 12, w: int = 16) -> Tensor:
    """Grey levels as an 8-bit camera has them, black and white in each channel."""
    random = np.random.default_rng(0)
    values = random.integers(20, 200, size=(n, c, h, w))
    values[..., 0, 0], values[..., 0, 1] = 0, 255
    return torch.from_numpy(values).double()


def by_pil(name: str, image: Tensor, level: float, sign: int) -> np.ndarray:
    picture = Image.fromarray(image.permute(1, 2, 0).numpy().astype(np.uint8))
    factor = 1 + sign * level * REACH.enhance
    kinds = {"brightness": "Brightness", "contrast": "Contrast", "color": "Color", "sharpness": "Sharpness"}
    if name in kinds:
        done = getattr(ImageEnhance, kinds[name])(picture).enhance(factor)
    elif name == "posterize":
        done = ImageOps.posterize(picture, 8 - round(level * REACH.bits))
    elif name == "solarize":
        done = ImageOps.solarize(picture, 256 - level * 256)
    else:
        done = {"autocontrast": ImageOps.autocontrast, "equalize": ImageOps.equalize}[name](picture)
    return np.asarray(done, dtype=np.float64).transpose(2, 0, 1)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("level", [0.0, 0.37, 0.8, 1.0])
@pytest.mark.parametrize("name", [*_space.tonal(REACH), *_space.enhancing(REACH)])
def test_tones_and_colours_are_those_of_pil(name: str, level: float, sign: int) -> None:
    image = levels()
    if name == "autocontrast":
        image[:, :, 0, :2] = 100.0
    one = torch.ones(1, dtype=torch.float64)
    ours = STEPS[name](image / 255, level * one, sign * one)[0] * 255
    # PIL rounds to whole grey levels in between, and means of channels, too.
    tolerance = 0.01 if name in ("posterize", "solarize", "equalize") else 1.5
    np.testing.assert_allclose(ours.numpy(), by_pil(name, image[0], level, sign), atol=tolerance)


def ramp(axis: int) -> Tensor:
    """Centred pixel coordinates, so that a map can be read off."""
    image = torch.arange(9.0, dtype=torch.float64) - 4
    return (image if axis == 0 else image[:, None]).expand(1, 1, 9, 9).clone()


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize(
    ("name", "inverse"),
    [
        ("shear_x", lambda x, y, s: (x - s * 0.25 * y, y)),
        ("shear_y", lambda x, y, s: (x, y - s * 0.25 * x)),
        ("translate_x", lambda x, y, s: (x - s * 0.5 * 0.25 * 9, y)),
        ("translate_y", lambda x, y, s: (x, y - s * 0.5 * 0.25 * 9)),
        ("rotate", lambda x, y, s: (np.sqrt(0.5) * (x - s * y), np.sqrt(0.5) * (s * x + y))),
    ],
)
def test_pixels_come_from_where_the_map_says(name: str, inverse: object, sign: float) -> None:
    assert callable(inverse)
    level, signs = torch.tensor([0.5], dtype=torch.float64), torch.tensor([sign], dtype=torch.float64)
    y, x = np.mgrid[-1:2, -1:2]  # the middle, where nothing comes from outside
    for axis in (0, 1):
        moved = STEPS[name](ramp(axis), level, signs)[0, 0, 3:6, 3:6]
        np.testing.assert_allclose(moved.numpy(), inverse(x, y, sign)[axis], atol=1e-6)


@pytest.mark.parametrize("name", STEPS)
def test_level_zero_changes_nothing_but_contrast_and_histogram(name: str) -> None:
    image = levels(2) / 255
    zero = torch.zeros(2, dtype=torch.float64)
    same = torch.allclose(STEPS[name](image, zero, zero + 1), image, atol=1e-6)
    assert same is (name != "equalize")  # black and white are there: nothing is left to stretch


def test_each_image_gets_the_step_of_its_choice_at_its_level() -> None:
    batch = levels(4) / 255
    choice, level = torch.tensor([1, 0, 9, 1]), torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64)
    steps = {
        "add": lambda x, s, _: x + s[:, None, None, None],
        "scale": lambda x, s, sign: x * (s * sign)[:, None, None, None],
    }
    sign = torch.tensor([-1.0, 1.0, 1.0, 1.0], dtype=torch.float64)
    result = _space.apply_each(batch, steps, choice, level, sign)
    expected = torch.stack([-0.1 * batch[0], batch[1] + 0.2, batch[2], 0.4 * batch[3]])
    torch.testing.assert_close(result, expected)


def test_spaces_hold_the_papers_operations() -> None:
    assert len(auto.space(auto._RAND)) == 14
    used = set()
    batch = levels(400, h=8, w=8)
    for seed in range(3):
        changed = (build(["trivialaugment"])(batch, seed=seed) != batch).flatten(1).any(1)
        used.add(round(changed.double().mean().item(), 2))
    assert all(0.8 < share < 1.0 for share in used)  # identity, and levels near zero, leave some alone


def test_rand_augment_applies_two_steps_at_its_level() -> None:
    batch = levels(2)
    steps = auto.space(auto._RAND)
    names = list(steps)
    draws = torch.zeros(4, 2, dtype=torch.float64)
    draws[0] = (names.index("contrast") + 0.5) / 14
    draws[1] = 0.9  # a sign of +1
    draws[2] = (names.index("solarize") + 0.5) / 14
    level = torch.full((2,), 0.5, dtype=torch.float64)
    plus = torch.ones(2, dtype=torch.float64)
    expected = 255 * steps["solarize"](steps["contrast"](batch / 255, level, plus), level, plus)
    torch.testing.assert_close(auto.rand_augment(batch, 15.0, draws), expected)


def test_trivial_augment_scales_its_level() -> None:
    batch = levels(1)
    steps = auto.space(auto._WIDE)
    place = (list(steps).index("brightness") + 0.5) / 14
    draws = torch.tensor([[place], [0.6], [0.1]], dtype=torch.float64)
    expected = 255 * steps["brightness"](
        batch / 255, torch.tensor([0.3], dtype=torch.float64), torch.tensor([-1.0], dtype=torch.float64)
    )
    torch.testing.assert_close(auto.trivial_augment(batch, 0.5, draws), expected)


def test_augmix_is_the_weighted_mean_of_its_chains() -> None:
    batch = levels(1)
    unit = batch / 255
    steps = auto.geometric(auto._MILD) | auto.tonal(auto._MILD)
    names = list(steps)
    weights, share = np.array([0.2, 0.5, 0.7]), 0.6
    depth = [0.1, 0.5, 0.9]  # one, two and three steps
    chains = [
        ["solarize", "rotate", "rotate"],
        ["posterize", "solarize", "rotate"],
        ["rotate", "equalize", "solarize"],
    ]
    drawn = [*weights, share, *depth]
    for chain in chains:
        for name in chain:
            drawn += [(names.index(name) + 0.5) / len(names), 0.5, 0.9]
    exponential = -np.log(1 - weights)
    dirichlet = exponential / exponential.sum()
    level = torch.tensor([(0.1 + 0.5 * 4.9) / 10], dtype=torch.float64)
    one = torch.ones(1, dtype=torch.float64)
    mixture = torch.zeros_like(unit)
    for weight, chain, count in zip(dirichlet, chains, (1, 2, 3), strict=True):
        mixed = unit
        for name in chain[:count]:
            mixed = steps[name](mixed, level, one)
        mixture += weight * mixed
    expected = 255 * ((1 - share) * unit + share * mixture)
    draws = torch.tensor(drawn, dtype=torch.float64)[:, None]
    torch.testing.assert_close(auto.augmix(batch, 5.0, draws), expected)
    assert len(drawn) == OPERATIONS["augmix"].draws


@pytest.mark.parametrize("name", POLICIES)
def test_standardised_pixels_stay_between_the_batchs_black_and_white(name: str) -> None:
    mean = torch.tensor([100.0, 120.0, 90.0], dtype=torch.float64).view(1, 3, 1, 1)
    deviation = torch.tensor([50.0, 60.0, 70.0], dtype=torch.float64).view(1, 3, 1, 1)
    batch = levels(64)
    result = build([name])((batch - mean) / deviation, seed=2)
    back = result * deviation + mean
    assert back.min() > -1e-6
    assert back.max() < 255 + 1e-6
    # Black and white are those of the pixels' own unit.
    torch.testing.assert_close(back, build([name])(batch, seed=2), atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", POLICIES)
def test_given_bounds_make_an_image_independent_of_its_batch(name: str) -> None:
    batch = levels(6)
    policy = build([name], bounds=((0.0, 0.0, 0.0), (255.0, 255.0, 255.0)))
    assert build([name], bounds=(0, 255)).bounds == ((0.0,), (255.0,))
    whole = policy(batch, seed=0)
    torch.testing.assert_close(build([name], bounds=(0, 255))(batch, seed=0), whole)
    other = batch.clone()
    other[1:] = 50.0
    assert torch.equal(policy(other, seed=0)[0], whole[0])
    dull = batch / 2 + 60
    assert not torch.allclose(build([name])(dull, seed=0), policy(dull, seed=0))
    assert torch.isfinite(build([name])(torch.full((2, 3, 8, 8), 7.0), seed=0)).all()


@pytest.mark.parametrize("bounds", [(1.0, 0.0), (0.0,), ((0.0, 0.0), (1.0,)), ((), ()), (0.0, "x"), 3.0])
def test_wrong_bounds_are_explained(bounds: object) -> None:
    with pytest.raises(ArgumentError, match=r"`bounds` must be \(black, white\)"):
        build(["randaugment"], bounds=bounds)


def test_grey_and_tiny_images() -> None:
    for shape in ((8, 1, 2, 2), (8, 2, 9, 1), (8, 4, 5, 5)):
        batch = torch.rand(shape)
        for name in POLICIES:
            assert torch.isfinite(build([name])(batch, seed=1)).all()
