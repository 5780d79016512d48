"""Policies: seeds, shapes, dtypes, how operations go together, and messages."""

from __future__ import annotations

import pickle
import sys

import pytest
import torch
from torch import Tensor

from normwise.augment import OPERATIONS, Policy, build
from normwise.errors import ArgumentError, MissingPackageError, UnknownNameError

EVERYTHING = tuple(name for name, operation in OPERATIONS.items() if "images" in operation.kinds)
AUTOMATIC = ("randaugment", "trivialaugment", "augmix")
SHAPES = {"tables": (16, 5), "sequences": (16, 3, 20), "images": (16, 3, 9, 12)}


def images(n: int = 16, c: int = 3, h: int = 9, w: int = 12, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(n, c, h, w, generator=torch.Generator().manual_seed(0)).to(dtype)


@pytest.mark.parametrize("specs", [(name,) for name in EVERYTHING] + [EVERYTHING], ids=str)
def test_seeded_and_apart_from_the_global_random_state(specs: tuple[str, ...]) -> None:
    policy, batch = build(specs), images()
    before = batch.clone()
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = policy(batch, seed=5)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    assert torch.equal(policy(batch, seed=5), first)
    assert not torch.equal(policy(batch, seed=6), first)
    assert torch.equal(batch, before)
    assert not torch.equal(first, batch)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(0, 3, 8, 8), (1, 1, 8, 8), (2, 3, 5, 11), (2, 1, 1, 1)])
def test_shape_and_dtype_stay_and_values_are_finite(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    batch = images(*shape, dtype=dtype)
    result = build(EVERYTHING)(batch, seed=0)
    assert result.shape == batch.shape
    assert result.dtype is dtype
    assert torch.isfinite(result).all()


def test_each_image_has_its_own_draw() -> None:
    batch = images(1).expand(8, -1, -1, -1)
    result = build(["shift"])(batch, seed=0)
    assert len({tuple(image.flatten().tolist()) for image in result}) == 8


@pytest.mark.parametrize("kind", SHAPES)
def test_every_operation_is_seeded_and_keeps_shape_and_dtype(kind: str) -> None:
    for name, operation in OPERATIONS.items():
        if kind not in operation.kinds:
            continue
        policy = build([name])
        for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
            batch = torch.randn(SHAPES[kind], generator=torch.Generator().manual_seed(0)).to(dtype)
            before, state = batch.clone(), torch.get_rng_state()
            result = policy(batch, seed=4)
            assert torch.equal(torch.get_rng_state(), state)
            assert torch.equal(batch, before)
            assert (result.shape, result.dtype) == (batch.shape, dtype)
            assert torch.equal(policy(batch, seed=4), result)
            assert not torch.equal(policy(batch, seed=5), result)
        for shape in (SHAPES[kind][1:], (1, *SHAPES[kind][1:]), (1,) * len(SHAPES[kind])):
            lonely = torch.randn(shape if len(shape) == len(SHAPES[kind]) else (0, *shape))
            assert policy(lonely, seed=0).shape == lonely.shape
            assert torch.isfinite(policy(lonely, seed=0)).all()


@pytest.mark.parametrize("other", ["flip", "brightness", "noise", "scale", "rotate", "shift"])
@pytest.mark.parametrize("name", EVERYTHING)
def test_no_operation_changes_the_draws_of_another(name: str, other: str) -> None:
    """Beside one that does next to nothing, an operation does what it does alone."""
    specs = [name] if name == other else [name, f"{other}:1e-9"]
    batch = images(4, dtype=torch.float64)
    both = build(specs)(batch, seed=3)
    alone = build([name])(batch, seed=3)
    # Posterizing and equalizing may take a pixel at the edge of a grey level for the next.
    assert ((both - alone).abs() > 1e-5).double().mean() < (0.02 if name in AUTOMATIC else 1e-9)


def test_draws_do_not_depend_on_the_rest_of_the_policy() -> None:
    batch = images()
    alone = build(["brightness"])(batch, seed=3) - batch
    warped = build(["shift"])(batch, seed=3)
    both = build(["brightness", "shift"])(batch, seed=3) - warped
    torch.testing.assert_close(both, alone, atol=1e-5, rtol=0)


def test_geometry_and_erasing_follow_the_unit_of_the_pixels() -> None:
    fixed = [name for name in EVERYTHING if name not in ("brightness", "noise", *AUTOMATIC)]
    policy, batch = build(fixed), images(dtype=torch.float64)
    torch.testing.assert_close(policy(40 * batch + 7, seed=1), 40 * policy(batch, seed=1) + 7)


def test_specs_are_read_back_in_the_order_of_application() -> None:
    policy = build(["erase:0.25", "flip", "shift: 0.1"])
    assert policy.specs == ("flip:0.5", "shift:0.1", "erase:0.25")
    assert build(policy.specs) == policy == pickle.loads(pickle.dumps(policy))
    assert build("flip") == build(["flip"])


def test_operations_for_different_data_are_refused_together() -> None:
    assert build(["noise"]).kinds == ("tables", "sequences", "images")
    assert build(["noise", "swap"]).kinds == ("tables",)
    with pytest.raises(ArgumentError, match=r"one kind of data\. Got 'flip' \(images\), 'swap' \(tables\)"):
        build(["flip", "swap"])
    with pytest.raises(
        ArgumentError, match=r"must leave targets alone\. Got 'mixup'\. hint: write build_mix"
    ):
        build(["flip", "mixup:0.2"])
    with pytest.raises(ArgumentError, match=r"floating-point rows of shape \(N, F\)"):
        build(["swap"])(images(), seed=0)
    with pytest.raises(
        ArgumentError, match=r"rows of shape \(N, F\) or sequences of shape \(N, C, L\) or images"
    ):
        build(["noise"])(torch.zeros(3), seed=0)


def test_empty_policy_returns_the_batch() -> None:
    batch = images()
    assert build([])(batch, seed=0) is batch
    assert Policy() == build(())


@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        ("shfit", UnknownNameError, r"augment: unknown operation 'shfit'\. Did you mean 'shift'"),
        (
            "shift:x",
            ArgumentError,
            r"augment 'shift': the magnitude must be above 0 and at most 1 .*'shift:x'",
        ),
        ("flip:1.5", ArgumentError, "at most 1"),
        ("rotate:-3", ArgumentError, "above 0 and at most 180"),
        ("brightness:inf", ArgumentError, "above 0 and finite"),
        ("scale:nan", ArgumentError, "above 0 and at most 10"),
        ("crop:", ArgumentError, "write 'crop:0.2'"),
    ],
)
def test_bad_specs_are_explained(spec: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        build([spec])


def test_an_operation_twice_is_refused() -> None:
    with pytest.raises(ArgumentError, match="'flip' twice"):
        build(["flip", "flip:0.2"])


@pytest.mark.parametrize("batch", [torch.zeros(3, 8, 8), torch.zeros(2, 1, 8, 8, dtype=torch.uint8)])
def test_bad_batch_is_explained(batch: Tensor) -> None:
    with pytest.raises(ArgumentError, match=r"floating-point images of shape \(N, C, H, W\)"):
        build(["flip"])(batch, seed=0)


def test_without_kornia_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kornia", None)
    assert build(["flip", "erase"]).specs == ("flip:0.5", "erase:0.5")
    with pytest.raises(MissingPackageError, match=r"normwise\[compare\]"):
        build(["shift"])
