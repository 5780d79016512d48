"""A small question from its first trial to its answer, again, interrupted, and with more seeds."""

from __future__ import annotations

import dataclasses
import json
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

import normwise.compare.cost
import normwise.compare.planned
import normwise.compare.run
import normwise.compare.splits
import normwise.compare.summary
import normwise.compare.tasks
import normwise.compare.trial
from normwise.compare.budget import Fitted
from normwise.compare.executors import Done, Task
from normwise.compare.run import InterruptedRunError, run
from normwise.compare.spec import Spec, make_spec
from normwise.compare.variant import product
from normwise.results import Comparison, dumps, loads

COMMAND = (
    *("compare", "wine", "--width", "8,8,8", "--steps", "30", "--lr", "0.01,0.1"),
    *("--seeds", "3", "--scan-seeds", "2", "--norm", "none,batch", "--workers", "1"),
)
QUESTION = {
    "data": "wine",
    "variants": product(norms=("none", "batch")),
    "networks": ({"kind": "mlp", "widths": (8, 8, 8)},),
    "lrs": (0.01, 0.1),
    "steps": 30,
    "seeds": 3,
    "scan_seeds": 2,
}


class Here:
    """Trains in this process instead of in workers."""

    def __init__(self, workers: int, context: Any) -> None:
        self.context = context

    def __enter__(self) -> Here:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def run(self, tasks: Sequence[Task]) -> Iterator[Done]:
        return (Done(task, task.function(*task.arguments, self.context)) for task in tasks)


class Dropping(Here):
    """Is interrupted after a few tasks, once."""

    left = 5

    def run(self, tasks: Sequence[Task]) -> Generator[Done]:
        for done in super().run(tasks):
            if not type(self).left:
                raise KeyboardInterrupt
            type(self).left -= 1
            yield done


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(normwise.compare.run, "Processes", Here)
    monkeypatch.setattr(normwise.compare.tasks, "SEEDS", 1)  # of the probe
    monkeypatch.setattr(normwise.compare.summary, "SEEDS", 1)
    monkeypatch.setattr(normwise.compare.cost, "ROUNDS", 3)
    normwise.compare.splits._split.cache_clear()


def question(**fields: Any) -> Spec:
    return make_spec(QUESTION | {"probe": False, "references": False} | fields)


def lines(directory: Path) -> list[bytes]:
    path = directory / "records.jsonl"
    return path.read_bytes().splitlines(keepends=True) if path.exists() else []


def untimed(value: Any) -> Any:
    """Everything but what a clock or a place had a part in."""
    if isinstance(value, Comparison):
        value = json.loads(dumps(value))
        del value["reproduction"]
        del value["more_seeds"]  # a command with the directory in it
        for setting in value["settings"]:
            setting["claims"] = [claim for claim in setting["claims"] if claim["claim"] != "cost"]
    if isinstance(value, dict):
        timed = ("seconds", "seconds_to_target", "cost", "seconds_ratio", "seconds_low", "seconds_high")
        return {key: untimed(item) for key, item in value.items() if key not in timed}
    if isinstance(value, list | tuple):
        return [untimed(item) for item in value]
    return value


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Comparison]:
    """A finished run that nobody interrupted."""
    directory = tmp_path_factory.mktemp("runs") / "finished"
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(normwise.compare.run, "Processes", Here)
        patch.setattr(normwise.compare.tasks, "SEEDS", 1)
        patch.setattr(normwise.compare.summary, "SEEDS", 1)
        patch.setattr(normwise.compare.cost, "ROUNDS", 3)
        comparison = run(question(probe=True), out=directory)
    torch.set_num_threads(threads)
    return directory, comparison


def test_a_run_ends_in_an_answer_to_every_part_of_the_question(finished: tuple[Path, Comparison]) -> None:
    directory, comparison = finished
    (setting,) = comparison.settings
    assert (comparison.partial, comparison.failed) == (False, 0)
    assert comparison.finished == comparison.planned == len(comparison.trials)
    assert [variant.name for variant in setting.variants] == ["none", "batch"]
    assert setting.seeds == (0, 1, 2)
    assert not set(setting.seeds) & set(setting.scan_seeds)
    names = {claim.claim for claim in setting.claims}
    assert names == {
        *(
            "faster",
            "larger_learning_rates",
            "initialization",
            "gradients",
            "generalizes",
            "regularizes",
            "cost",
        )
    }
    for variant in setting.variants:
        assert len(variant.final) == 3
        assert all(final.test is not None and 0 <= final.test <= 100 for final in variant.final)
        assert [spread.initialization for spread in variant.initializations] == ["he ×1", "he ×0.1"]
    assert comparison.probe is not None
    assert comparison.data.split == (106, 36, 36)
    assert comparison.data.margin == 0.5
    assert loads((directory / "comparison.json").read_bytes(), Comparison) == comparison
    kinds = [json.loads(line)["kind"] for line in lines(directory)]
    assert kinds.count("trial") == comparison.finished
    assert kinds.count("probe") == 3
    assert kinds.count("cost") == 1
    assert comparison.reproduction.command == f"normwise compare --spec {directory / 'run.json'}"


def test_a_finished_run_trains_nothing_again_and_gives_the_same_numbers(
    finished: tuple[Path, Comparison], monkeypatch: pytest.MonkeyPatch
) -> None:
    directory, comparison = finished
    before = lines(directory)

    def refuse(*_: object) -> None:
        raise AssertionError("a trial was asked for")

    monkeypatch.setattr(normwise.compare.tasks, "run_trial", refuse)
    again = run(question(probe=True), out=directory)
    assert lines(directory) == before
    kept = dataclasses.replace(again, reproduction=comparison.reproduction)
    assert kept == comparison  # timings too: they were recorded


def test_an_interrupted_run_goes_on_where_it_stopped_and_ends_in_the_same_numbers(
    finished: tuple[Path, Comparison], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(normwise.compare.run, "Processes", Dropping)
    with pytest.raises(KeyboardInterrupt):
        run(question(probe=True), out=tmp_path / "run")
    before = lines(tmp_path / "run")
    assert len(before) == 5
    monkeypatch.setattr(normwise.compare.run, "Processes", Here)
    comparison = run(question(probe=True), out=tmp_path / "run")
    assert lines(tmp_path / "run")[:5] == before
    assert len(lines(tmp_path / "run")) == len(lines(finished[0]))
    assert untimed(comparison) == untimed(finished[1])


def test_an_interrupted_run_answers_with_what_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Late(Dropping):
        left = 0

    monkeypatch.setattr(normwise.compare.run, "Processes", Late)

    def broken_off(after: int) -> Comparison | None:
        Late.left = after
        with pytest.raises(InterruptedRunError) as caught:
            run(question(), out=tmp_path / f"after {after}")
        return caught.value.comparison

    # Two variants at two learning rates: a seed of the scan is four trials.
    assert broken_off(3) is None
    assert not (tmp_path / "after 3" / "comparison.json").exists()

    scanned = broken_off(7)
    assert scanned is not None
    assert scanned.partial
    (setting,) = scanned.settings
    assert len(setting.scan_seeds) == 1  # the second one was not whole
    assert {claim.verdict for claim in setting.claims if claim.claim == "generalizes"} == {"not measured"}

    some = broken_off(16)
    assert some is not None
    assert some.partial
    assert (some.finished, some.finished < some.planned) == (16, True)
    tested = [final.test is not None for final in some.settings[0].variants[0].final]
    assert any(tested)
    assert not all(tested)
    assert {claim.verdict for claim in some.settings[0].claims if claim.claim == "cost"} == {"not measured"}
    kept = loads((tmp_path / "after 16" / "comparison.json").read_bytes(), Comparison)
    assert kept == some


def test_a_run_keeps_what_it_left_out_when_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = make_spec(
        {
            "data": "wine",
            "lrs": (0.1,),
            "steps": 3,
            "seeds": 1,
            "scan_seeds": 1,
            "probe": False,
            "references": False,
        }
    )
    tight = run(spec, out=tmp_path / "run", budget=4.2)
    assert tight.shed
    names = [variant.name for variant in tight.settings[0].variants]
    before = lines(tmp_path / "run")
    # A machine that is ten times as fast all at once would shed less.
    monkeypatch.setattr(normwise.compare.planned, "fit", lambda p, t, b, **_: Fitted(p, 1.0, (), b))
    again = run(spec, out=tmp_path / "run", budget=4.2)
    assert [variant.name for variant in again.settings[0].variants] == names
    assert again.shed == tight.shed
    assert lines(tmp_path / "run") == before
    more = run(spec, out=tmp_path / "run", budget=None)  # another budget sheds anew, and keeps what is there
    assert len(more.settings[0].variants) > len(names)
    assert lines(tmp_path / "run")[: len(before)] == before


def test_more_seeds_extend_a_finished_run_and_fewer_read_a_part_of_it(tmp_path: Path) -> None:
    two = run(question(seeds=2), out=tmp_path / "run")
    before = lines(tmp_path / "run")
    four = run(question(seeds=4), out=tmp_path / "run")
    after = lines(tmp_path / "run")
    assert after[: len(before)] == before
    added = [json.loads(line) for line in after[len(before) :]]
    assert {line["record"]["description"]["seed"] for line in added} == {2, 3}
    for few, many in zip(two.settings[0].variants, four.settings[0].variants, strict=True):
        assert many.final[:2] == few.final
        assert len(many.final) == 4
    assert untimed(run(question(seeds=2), out=tmp_path / "run")) == untimed(two)
    assert lines(tmp_path / "run") == after


def test_the_same_question_finds_its_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    small = question(seeds=1, scan_seeds=1, lrs=(0.1,), steps=3)
    first, again = run(small), run(small.model_copy(update={"seeds": 2}))
    assert first.reproduction.directory == again.reproduction.directory
    assert [path.name for path in Path("runs").iterdir()] == [Path(first.reproduction.directory).name]
    other = run(small.model_copy(update={"steps": 4}))
    assert other.reproduction.directory != first.reproduction.directory


def test_progress_counts_up_to_what_it_said(tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    advanced = 0

    class Log:
        def phase(self, name: str, done: int, expected: int) -> None:
            told.append((name, done, expected))

        def advance(self) -> None:
            nonlocal advanced
            advanced += 1

    run(question(seeds=1, lrs=(0.1,), steps=3), out=tmp_path / "run", progress=Log())
    assert [name for name, _, _ in told] == ["learning-rate scan", "fresh seeds", "step times"]
    assert told[0][1] == 0
    assert told[-1][2] == advanced == len(lines(tmp_path / "run"))


def test_trials_that_raise_are_counted_and_the_rest_is_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = normwise.compare.trial.Training

    def broken(ground: Any, variant: Any, *rest: Any, **more: Any) -> Any:
        if variant.norm == "batch":
            raise RuntimeError("no luck")
        return training(ground, variant, *rest, **more)

    monkeypatch.setattr(normwise.compare.trial, "Training", broken)
    comparison = run(question(seeds=2, steps=3), out=tmp_path / "run")
    raised = [row for row in comparison.trials if row["outcome"] == "raised"]
    assert {row["variant"] for row in raised} == {"batch"}
    assert {row["error"] for row in raised} == {"RuntimeError: no luck"}
    assert comparison.failed == len(raised) > 0
    assert {claim.verdict for claim in comparison.settings[0].claims if claim.claim != "cost"} == {
        "not measured"
    }


def test_a_regression_and_several_settings(tmp_path: Path) -> None:
    comparison = run(
        question(data="diabetes", depths=(2, 3), seeds=2, scan_seeds=1, lrs=(0.01,), steps=5),
        out=tmp_path / "run",
    )
    assert [setting.name for setting in comparison.settings] == ["mlp, depth 2", "mlp, depth 3"]
    assert comparison.data.metric == "rmse"
    errors = [final.test for setting in comparison.settings for v in setting.variants for final in v.final]
    assert all(error is not None and error > 20 for error in errors)  # in the target's own units
    slopes = [setting.variants[0].gradient.start_slope for setting in comparison.settings]
    assert slopes[0] is None
    assert slopes[1] is not None


def command(directory: Path) -> list[str]:
    program = "import sys; from normwise.cli import main; sys.argv[0] = 'normwise'; main()"
    spec = directory.with_name("question.toml")
    spec.write_text("probe = false\nreferences = false\n")
    return [sys.executable, "-c", program, *COMMAND, "--spec", str(spec), "--out", str(directory)]


def stopped(directory: Path, how: signal.Signals, after: int) -> tuple[int, str]:
    """Run the command and send a signal once so many lines are recorded; the exit code and stderr."""
    with subprocess.Popen(
        command(directory), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        end = time.monotonic() + 60
        while len(lines(directory)) < after and process.poll() is None and time.monotonic() < end:
            time.sleep(0.005)
        process.send_signal(how)
        try:
            message = process.communicate(timeout=30)[1]
        finally:
            process.kill()  # one that does not end would be waited for
    return process.returncode, message


def test_interrupted_by_hand_then_killed_the_same_command_ends_in_the_same_numbers(
    finished: tuple[Path, Comparison], tmp_path: Path
) -> None:
    directory = tmp_path / "run"
    code, message = stopped(directory, signal.SIGINT, after=2)
    assert code == 130
    assert "the same command goes on from there" in " ".join(message.split())
    assert "Traceback" not in message
    interrupted = lines(directory)
    assert len(interrupted) >= 2

    code, message = stopped(directory, signal.SIGKILL, after=len(interrupted) + 2)
    assert code == -signal.SIGKILL, message
    killed = lines(directory)
    assert killed[: len(interrupted)] == interrupted
    assert len(interrupted) + 2 <= len(killed) < len(lines(finished[0]))
    whole = [line for line in killed if line.endswith(b"\n")]

    # What is left is trained in this process: the same question finds the same trials there.
    comparison = run(question(), out=directory)
    assert lines(directory)[: len(whole)] == whole
    assert untimed(comparison) == untimed(dataclasses.replace(finished[1], probe=None))
