"""The process of JAX, with a stand-in for JAX that counts: what goes over the pipe, and what comes back."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from normwise.bench import jax_rival
from normwise.bench.case import own_case
from normwise.bench.jax_rival import JaxError, JaxProcess
from normwise.errors import ArgumentError

STAND_IN = """
import json, sys
print(json.dumps({"version": "stand-in on " + sys.argv[1]}), flush=True)
for line in sys.stdin:
    order = json.loads(line)
    if "burst" in order:
        answer = {"seconds": order["burst"] / 1000}
    elif order["case"]["op"] == "weight_norm":
        answer = {"error": "LookupError: not here"}
    elif order["case"]["op"] == "dropout":
        sys.exit(1)
    else:
        answer = {"ready": order["case"]}
    print(json.dumps(answer), flush=True)
"""


@pytest.fixture
def process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[JaxProcess]:
    script = tmp_path / "stand_in.py"
    script.write_text(STAND_IN)
    monkeypatch.setattr(jax_rival.jax_side, "__file__", str(script))
    with JaxProcess(Path(sys.executable), 2) as process:
        yield process


def test_cases_and_bursts_go_over_the_pipe(process: JaxProcess) -> None:
    assert process.version == "stand-in on 2"
    process.take(own_case("batch_norm", "8x4"))
    assert process.burst(7) == 0.007
    assert process.pid > 0


def test_what_it_cannot_run_is_an_error_and_the_process_goes_on(process: JaxProcess) -> None:
    with pytest.raises(JaxError, match="not here"):
        process.take(own_case("weight_norm", "8x4"))
    process.take(own_case("batch_norm", "8x4"))


def test_a_process_that_ends_is_told(process: JaxProcess) -> None:
    with pytest.raises(JaxError, match="has ended"):
        process.take(own_case("dropout", "8x4"))


def test_an_interpreter_without_jax_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "fails.py"
    script.write_text("import no_such_module_at_all")
    monkeypatch.setattr(jax_rival.jax_side, "__file__", str(script))
    with pytest.raises(ArgumentError, match="JAX must start"):
        JaxProcess(Path(sys.executable), 1)
