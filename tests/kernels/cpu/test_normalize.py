"""Normalization, residual, activation and dropout in one pass: forward and backward against float64."""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType

import pytest
import torch
from hypothesis import HealthCheck, given, settings, strategies as st

from normwise.kernels.cpu.call import ACTIVATIONS

EXAMPLES = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
SIZES = st.sampled_from((1, 2, 3, 5, 8, 15, 16, 17, 32, 33, 70))


@EXAMPLES
@given(st.data())
def test_any_call(raw: ModuleType, isa: str, data: st.DataObject) -> None:
    draw = data.draw
    family, dtype = draw(st.sampled_from(raw.FAMILIES)), draw(st.sampled_from(raw.DTYPES))
    groups = draw(st.sampled_from((1, 2, 3)))
    across = family == "across"
    narrow = dtype in (torch.bfloat16, torch.float16)
    problem = raw.Problem(
        family=family,
        layout=draw(st.sampled_from(raw.LAYOUTS)),
        samples=draw(st.sampled_from((1, 2, 3, 7, 20))),
        channels=draw(SIZES) * (groups if family == "group" else 1),
        positions=draw(SIZES),
        groups=groups,
        models=draw(st.sampled_from((1, 1, 2, 3))) if across else 1,
        dtype=dtype,
        parameter_dtype=torch.float32 if narrow and draw(st.booleans()) else dtype,
        activation=draw(st.sampled_from(sorted(ACTIVATIONS))),
        residual=draw(st.booleans()),
        rate=draw(st.sampled_from((0.0, 0.0, 0.1, 0.5))),
        centred=across or draw(st.booleans()),
        training=not across or draw(st.booleans()),
        running_dtype=torch.float32 if narrow and draw(st.booleans()) else None,
        biased=draw(st.booleans()),
        past_caches=draw(st.booleans()),
        affine=draw(st.booleans()),
        mean=draw(st.sampled_from((0.0, 0.5, -3.0))),
        seed=draw(st.integers(0, 10**6)),
    )
    raw.check(problem)


@EXAMPLES
@given(st.data())
def test_weighted_samples(raw: ModuleType, isa: str, data: st.DataObject) -> None:
    draw = data.draw
    problem = raw.Problem(
        layout=draw(st.sampled_from(raw.LAYOUTS)),
        samples=draw(st.integers(8, 30)),
        channels=draw(SIZES),
        positions=draw(st.sampled_from((1, 3, 16, 21))),
        models=draw(st.sampled_from((1, 2))),
        dtype=draw(st.sampled_from(raw.DTYPES)),
        activation=draw(st.sampled_from(("none", "relu", "gelu"))),
        residual=draw(st.booleans()),
        weighted=True,
        seed=draw(st.integers(0, 10**6)),
    )
    raw.check(problem)


# Sizes at which the kernels cut a call into parts, tiles and blocks.
LARGE = {
    "few channels, long rows": {"samples": 3, "channels": 2, "positions": 20011},
    "many short rows": {"samples": 601, "channels": 3, "positions": 49},
    "many samples": {"samples": 9001, "channels": 10, "positions": 1},
    "wide": {"samples": 5, "channels": 6002, "positions": 3},
    "tiles and a rest": {"samples": 2, "channels": 34, "positions": 1300},
}


@pytest.mark.parametrize("sizes", LARGE.values(), ids=LARGE)
@pytest.mark.parametrize("layout", ["first", "last"])
@pytest.mark.parametrize("family", ["across", "group", "layer"])
def test_large_calls(raw: ModuleType, family: str, layout: str, sizes: dict[str, int]) -> None:
    problem = raw.Problem(family, layout, **sizes, groups=1 if sizes["channels"] % 2 else 2)
    raw.check(replace(problem, groups=sizes["channels"] if sizes["channels"] < 4 else 2))
    raw.check(replace(problem, activation="relu", residual=True, rate=0.3, dtype=torch.bfloat16))


@pytest.mark.parametrize("layout", ["first", "last"])
@pytest.mark.parametrize("family", ["across", "group", "layer"])
@pytest.mark.parametrize("activation", ["none", "relu", "silu"])
def test_a_gradient_alone_is_that_of_all_at_once(
    raw: ModuleType, family: str, layout: str, activation: str
) -> None:
    problem = raw.Problem(family, layout, activation=activation, residual=True, rate=0.2)
    values = raw.drawn(problem)
    whole = raw.run(problem, values)
    for name in ("dx", "dresidual", "dweight", "dbias"):
        alone = raw.run(problem, values, wanted=(name,))
        assert torch.equal(getattr(alone, name), getattr(whole, name)), name


# Rows of whole lines of the caches, and of packs; a problem that ends within a row of several samples.
LINES = {
    "rows of lines": {"samples": 3, "channels": 16, "positions": 32},
    "short rows together": {"samples": 7, "channels": 8, "positions": 2},
    "rows with a rest": {"samples": 5, "channels": 34, "positions": 19},
}


@pytest.mark.parametrize("sizes", LINES.values(), ids=LINES)
@pytest.mark.parametrize("layout", ["first", "last"])
@pytest.mark.parametrize("family", ["across", "group", "layer"])
def test_past_the_caches_the_same_is_written(
    raw: ModuleType, isa: str, family: str, layout: str, sizes: dict[str, int]
) -> None:
    for models in (1, 3) if family == "across" else (1,):
        for dtype in raw.DTYPES:
            for activation in ("none", "relu", "silu"):
                problem = raw.Problem(
                    family, layout, **sizes, models=models, dtype=dtype, activation=activation, residual=True
                )
                values = raw.drawn(problem)
                want, got = (raw.run(replace(problem, past_caches=past), values) for past in (False, True))
                for name in raw.RESULTS[:5]:
                    assert torch.equal(getattr(got, name), getattr(want, name)), (name, problem)


@pytest.mark.parametrize("layout", ["first", "last"])
@pytest.mark.parametrize("family", ["across", "group", "layer"])
@pytest.mark.parametrize("over", ["dx", "dresidual"])
def test_a_gradient_may_be_written_over_the_incoming_one(
    raw: ModuleType, family: str, layout: str, over: str
) -> None:
    for activation in ("none", "relu", "tanh"):
        problem = raw.Problem(family, layout, 9, 34, 19, activation=activation, residual=True, rate=0.2)
        values = raw.drawn(problem)
        wanted = (over, "dweight", "dbias")
        apart, written_over = (raw.run(problem, values, wanted, over=name) for name in (None, over))
        for name in wanted:
            assert torch.equal(getattr(apart, name), getattr(written_over, name)), name


@pytest.mark.parametrize("layout", ["first", "last"])
def test_running_statistics_of_all_batches_alike(raw: ModuleType, layout: str) -> None:
    problem = raw.Problem(layout=layout, momentum=-1.0)
    values = raw.drawn(problem)
    seen = []
    for seed in range(3):
        batch = raw.drawn(replace(problem, seed=seed)).x
        seen.append(batch.double())
        after = raw.run(problem, replace(values, x=batch))
        values = replace(
            values, running_mean=after.running_mean, running_var=after.running_var, batches=after.batches
        )
    assert values.batches.item() == 3
    axes = (0, 1, 3) if layout == "first" else (0, 1, 2)
    raw.assert_close(values.running_mean, torch.stack([x.mean(axes) for x in seen]).mean(0), what="mean")
    raw.assert_close(values.running_var, torch.stack([x.var(axes) for x in seen]).mean(0), what="variance")


@pytest.mark.parametrize("layout", ["first", "last"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e30])
@pytest.mark.parametrize("models", [1, 3])
def test_a_batch_that_is_not_finite_leaves_all_running_statistics(
    raw: ModuleType, layout: str, value: float, models: int
) -> None:
    """The square of 1e30 is no float32. Of stacked models each is kept or left as if alone."""
    problem = raw.Problem(layout=layout, models=models)
    clean = raw.drawn(problem)
    values = replace(clean, x=clean.x.clone())
    values.x[0, 2, 1, 1] = value
    got, want = raw.run(problem, values), raw.run(problem, clean)
    channels = problem.channels
    for name in ("running_mean", "running_var"):
        before, after, other = (getattr(v, name) for v in (clean, got, want))
        assert torch.equal(after[:channels], before[:channels]), name
        assert torch.equal(after[channels:], other[channels:]), name
        assert not torch.equal(other[:channels], before[:channels])
    assert (got.batches.item(), got.skipped.item()) == ((0, 1) if models == 1 else (1, 0))


@pytest.mark.parametrize("layout", ["first", "last"])
@pytest.mark.parametrize("family", ["across", "group", "layer"])
@pytest.mark.parametrize("empty", ["samples", "positions", "channels"])
def test_nothing_in_gives_nothing(raw: ModuleType, family: str, layout: str, empty: str) -> None:
    problem = replace(raw.Problem(family, layout), **{empty: 0})
    after = raw.run(problem, raw.drawn(problem))
    before = raw.drawn(problem)
    for name in ("dweight", "dbias"):
        assert torch.equal(getattr(after, name), torch.zeros_like(before.weight)), name
    if family == "across":
        assert torch.equal(after.running_mean, before.running_mean)
        assert torch.equal(after.running_var, before.running_var)


@pytest.mark.parametrize("name", ["y", "dx", "dresidual", "dweight", "dbias", "running_mean", "running_var"])
def test_the_check_sees_a_value_that_is_off(
    raw: ModuleType, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = raw.Problem(activation="relu", residual=True)
    raw.check(problem)
    right = raw.run

    def wrong(*arguments: object) -> object:
        values = right(*arguments)
        getattr(values, name).view(-1)[-1] += 1e-2
        return values

    monkeypatch.setattr(raw, "run", wrong)
    with pytest.raises(AssertionError, match=f"^{name} of"):
        raw.check(problem)


def test_the_guards_see_what_is_written_beside_a_tensor(raw: ModuleType) -> None:
    for dtype in (torch.float32, torch.bfloat16, torch.uint8):
        inner, around = raw.guarded((3, 5), dtype)
        inner.zero_()
        raw.check_guards(around)
        around[1][0] = 0
        with pytest.raises(AssertionError, match=f"beside a tensor of {dtype}"):
            raw.check_guards(around)
