from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import normwise as nw
from normwise.allocator import AllocatorTuning
from normwise.bench import conditions as conditions_module, measure as measure_module, run as run_module
from normwise.bench.case import Case, own_case
from normwise.bench.jax_rival import jax_python
from normwise.bench.measure import Method, measure
from normwise.bench.run import Options, benchmark
from normwise.errors import ArgumentError, BackendError, UnknownNameError
from normwise.results import Benchmark, CopyBandwidth, dumps, loads

QUICKLY = Options(compiled=False, jax=False, rounds=2, least_seconds=1e-4)
METHOD = Method(2, 1e-4, compiled=False)
FLAT = (CopyBandwidth(2**20, 10.0, "L2"),)


@pytest.fixture(autouse=True)
def little_copying(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "working_sets", lambda caches: (2**16,))


def test_a_run_is_a_record_that_survives_the_way_to_json() -> None:
    told: list[tuple[int, int, str]] = []
    cases = [own_case("batch_norm_relu_dropout", "8x16"), own_case("dropout", "8x16", mode="evaluation")]
    record = benchmark(cases, QUICKLY, progress=lambda *what: told.append(what))
    assert loads(dumps(record), Benchmark) == record
    assert [case.name for case in record.cases] == [case.name for case in cases]
    assert told == [(0, 2, "copy bandwidth"), (0, 2, cases[0].name), (1, 2, cases[1].name)]
    trained, evaluated = record.cases
    assert [side.side for side in trained.sides] == ["normwise", "eager"]
    assert trained.eager_saved_bytes == 3 * 8 * 16 * 4 + 2 * 16 * 4
    assert evaluated.saved_bytes is None
    assert trained.backend


def test_the_limit_is_the_bytes_over_the_bandwidth_of_the_run() -> None:
    result = measure(own_case("batch_norm", "256x512"), METHOD, FLAT)
    ours = result.side("normwise")
    assert result.limit_ms == pytest.approx(1000 * 5 * 256 * 512 * 4 / 10e9)
    assert ours is not None
    assert ours.milliseconds is not None
    assert result.times_limit == pytest.approx(ours.milliseconds.median / result.limit_ms)


def test_a_small_call_and_a_training_step_have_no_limit() -> None:
    small = measure(own_case("batch_norm", "32x64"), METHOD, FLAT)
    step = measure(Case("mlp_tiny_dropout", (128, 64), mode="step"), METHOD, FLAT)
    assert small.limit_ms is step.limit_ms is None
    assert step.ratio("eager") is not None
    assert step.saved_bytes is not None


def test_a_rival_that_cannot_run_is_told_and_the_others_are_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(module: nn.Module) -> nn.Module:
        raise RuntimeError("no compiler\nand a long tail")

    monkeypatch.setattr(measure_module, "compile_module", broken)
    result = measure(own_case("dropout", "8x8"), Method(2, 1e-4), FLAT)
    side = result.side("compile")
    assert side is not None
    assert (side.milliseconds, side.error) == (None, "RuntimeError: no compiler")
    assert result.ratio("compile") is None
    assert result.ratio("eager") is not None


def test_a_back_end_that_cannot_take_a_case_is_told_and_the_rivals_are_timed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(work: object) -> None:
        raise BackendError("no such kernel")

    monkeypatch.setattr(measure_module.backend, "what_runs", refuse)
    result = measure(own_case("dropout", "8x8"), METHOD, FLAT)
    side = result.side("normwise")
    assert side is not None
    assert (side.milliseconds, side.error) == (None, "no such kernel")
    assert [other.side for other in result.sides if other.milliseconds is not None] == ["eager"]
    assert result.ratio("eager") is result.saved_bytes is result.times_limit is None


def test_compiled_is_a_side_like_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    # The compiler itself takes seconds; what stands behind it is the eager module all the same.
    monkeypatch.setattr(measure_module, "compile_module", lambda module: module)
    result = measure(own_case("layer_norm", "8x8"), Method(2, 1e-4), FLAT)
    assert [side.side for side in result.sides] == ["normwise", "eager", "compile"]
    assert result.ratio("compile") is not None


def test_an_interrupt_ends_the_run_with_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []

    def second_is_interrupted(case: Case, *rest: object) -> object:
        if done:
            raise KeyboardInterrupt
        done.append(case.name)
        return measure(case, METHOD, FLAT)

    monkeypatch.setattr(run_module, "measure", second_is_interrupted)
    record = benchmark([own_case("dropout", "4x4"), own_case("dropout", "8x8")], QUICKLY)
    assert record.partial
    assert [case.shape for case in record.cases] == [(4, 4)]


def test_threads_and_random_state_are_as_before() -> None:
    before, seed = torch.get_num_threads(), torch.random.get_rng_state()
    record = benchmark([own_case("dropout", "4x4")], Options(**{**vars(QUICKLY), "threads": 1}))
    assert record.machine.threads == 1
    assert torch.get_num_threads() == before
    assert torch.equal(torch.random.get_rng_state(), seed)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"threads": 0}, ArgumentError, "must be at least 1"),
        ({"backend": "cuda"}, UnknownNameError, "Known: aten, auto, cpu, native, portable"),
    ],
)
def test_wrong_options_are_refused(change: dict[str, object], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        benchmark([own_case("dropout", "4x4")], Options(**{**vars(QUICKLY), **change}))  # type: ignore[arg-type]


def test_a_back_end_by_name_makes_no_findings_about_the_default() -> None:
    record = benchmark([own_case("dropout", "4x4")], Options(**{**vars(QUICKLY), "backend": "aten"}))
    assert record.slower == ()
    assert record.cases[0].backend == "aten"


def test_another_python_must_be_there_and_have_jax(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="must be an interpreter with JAX"):
        jax_python(tmp_path / "python")
    assert jax_python(Path(sys.executable)) == Path(sys.executable)


@pytest.mark.parametrize("applied", [True, False])
def test_an_allocator_is_tuned_or_the_run_refused(monkeypatch: pytest.MonkeyPatch, applied: bool) -> None:
    # Not the real one: its settings last as long as the process, and other tests run in it.
    tuning = AllocatorTuning(applied, "other", "Nothing was changed.")
    monkeypatch.setattr(conditions_module, "tune_allocator", lambda: tuning)
    options = Options(**{**vars(QUICKLY), "tuned_malloc": True})
    if applied:
        found = benchmark([own_case("dropout", "4x4")], options)
        assert (found.malloc, found.kept_bytes) == ("tuned", nw.keep_memory().limit)
    else:
        with pytest.raises(ArgumentError, match="Got Nothing was changed"):
            benchmark([own_case("dropout", "4x4")], options)


@pytest.mark.parametrize(("shares", "tries"), [((0.0,), 1), ((0.5, 0.0), 2), ((0.5, 0.5, 0.5), 3)])
def test_the_bandwidth_is_measured_again_while_others_work_and_the_fastest_counts(
    monkeypatch: pytest.MonkeyPatch, shares: tuple[float, ...], tries: int
) -> None:
    # Further shares belong to the case that is timed afterwards.
    left = iter((*shares, 0.0))
    measured = [(CopyBandwidth(2**16, speed, "L2"),) for speed in (5.0, 9.0, 7.0)]
    monkeypatch.setattr(run_module.Watch, "others", lambda self: next(left))
    monkeypatch.setattr(run_module, "copy_bandwidth", lambda *_: measured.pop(0))
    record = benchmark([own_case("dropout", "4x4")], QUICKLY)
    assert 3 - len(measured) == tries
    assert record.bandwidth[0].gigabytes_per_second == (5.0 if tries == 1 else 9.0)
