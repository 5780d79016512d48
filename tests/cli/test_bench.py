from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from normwise.bench import run as run_module
from normwise.bench.bars import Bar
from normwise.results import Benchmark, loads

Cli = Callable[..., Any]
TINY = ("bench", "--op", "batch_norm_relu", "--shape", "8x16", "--no-compile", "--no-jax")


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "working_sets", lambda caches: (2**16,))
    monkeypatch.setattr(run_module, "ROUNDS", 1)


def test_a_case_of_ones_own_is_timed_and_written(cli: Cli, tmp_path: Path) -> None:
    answer = cli(*TINY, "--threads", "1", "--out", "new/bench.html", "--out", "bench.json")
    assert answer.code == 0, answer.err
    assert "Batch normalization → ReLU on 8×16" in answer.out
    assert "0 of 1 done: batch_norm_relu 8x16 contiguous float32 training" in answer.err
    assert "Written: new/bench.html" in answer.err
    assert "8×16" in (tmp_path / "new" / "bench.html").read_text(encoding="utf-8")
    record = loads((tmp_path / "bench.json").read_bytes(), Benchmark)
    assert record.machine.threads == 1
    assert record.command == (
        "normwise bench --op batch_norm_relu --shape 8x16 --layout contiguous --dtype float32 --mode training "
        "--threads 1 --no-compile --no-jax"
    )


def test_json_alone_is_on_standard_output_and_names_nobody(cli: Cli, tmp_path: Path) -> None:
    answer = cli(*TINY, "--json", "--backend", "aten")
    record = loads(answer.out, Benchmark)
    assert [case.shape for case in record.cases] == [(8, 16)]
    assert record.backend == record.cases[0].backend == "aten"
    for private in (os.uname().nodename, str(tmp_path), str(Path.home())):
        assert f'"{private}"' not in answer.out


def test_cases_are_listed_by_name_and_group(cli: Cli) -> None:
    answer = cli("bench", "--list", "--only", "bn_relu_nchw", "--only", "weight_norm")
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.splitlines() == [
        "batch_norm_relu 32x64x56x56 contiguous float32 training  [bn_relu_nchw]",
        "weight_norm 32x64 contiguous float32 training",
    ]
    names = [entry["name"] for entry in json.loads(cli("bench", "--list", "--quick", "--json").out)]
    everything = cli("bench", "--list").out.splitlines()
    assert 5 < len(names) < len(everything)


@pytest.mark.parametrize(("floor", "code"), [(1e-6, 0), (1e6, 1)])
def test_a_missed_bar_is_an_exit_code_only_if_it_is_asked_for(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, floor: float, code: int
) -> None:
    def judged(results: Any) -> Any:
        from normwise.bench.verdict import judge

        return judge(results, [Bar("", "a bar", "eager", floor)], [])

    monkeypatch.setattr(run_module, "judge", judged)
    monkeypatch.setattr(run_module, "slower", lambda results: ())
    assert cli(*TINY).code == 0
    assert cli(*TINY, "--check").code == code


def test_a_case_that_is_slower_by_default_is_a_missed_bar(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "slower", lambda results: (results[0].name,))
    answer = cli(*TINY, "--check")
    assert answer.code == 1
    assert "slower than eager" in answer.out


def test_an_interrupted_run_shows_what_there_is(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(run_module, "measure_apart", interrupted)
    answer = cli(*TINY)
    assert answer.code == 130
    assert "The run was interrupted" in answer.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--op", "batch_norm"), "must go with `--shape`"),
        (("--shape", "8x4"), "`--shape` must go with `--op`"),
        (("--layout", "channels_last"), "`--layout` must go with `--op`"),
        (("--op", "dropout", "--shape", "8", "--only", "bn"), "`--only` must choose"),
        (("--op", "bacth_norm", "--shape", "8x4"), "Did you mean 'batch_norm'"),
        (("--only", "no_such_case"), "see normwise bench --list"),
        (("--op", "dropout", "--shape", "8", "--threads", "0"), "`--threads` must be at least 1"),
        (("--op", "dropout", "--shape", "8", "--backend", "gpu"), "unknown backend 'gpu'"),
        (("--op", "dropout", "--shape", "8", "--out", "x.pdf"), "must be a file that ends in"),
        (("--op", "dropout", "--shape", "8", "--jax-python", "nowhere"), "an interpreter with JAX"),
    ],
)
def test_a_wrong_option_is_one_line(cli: Cli, arguments: tuple[str, ...], words: str) -> None:
    answer = cli("bench", *arguments)
    assert (answer.code, answer.out) == (2, "")
    assert words in answer.message
    assert answer.err.splitlines()[-1].startswith("error: ")
