import importlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from types import ModuleType

import pytest

from normwise.compare.executors import Processes, Task, WorkerDiedError

WORK = """
import os, signal, sys, time
from pathlib import Path


def add(a, b, context):
    return a + b + context


def where(context):
    import torch

    return os.getpid(), torch.get_num_threads(), signal.getsignal(signal.SIGINT) == signal.SIG_IGN


def die(marker, times, context):
    marker = Path(marker)
    deaths = len(marker.read_text()) if marker.exists() else 0
    if deaths < times:
        marker.write_text("x" * (deaths + 1))
        os._exit(1)
    return "alive"


def wait(directory, context):
    (Path(directory) / str(os.getpid())).touch()
    while True:
        time.sleep(1)


def main(directory):
    from normwise.compare.executors import Processes, Task

    with Processes(2, None) as pool:
        for _ in pool.run([Task("test", str(i), wait, (directory,)) for i in range(2)]):
            pass


if __name__ == "__main__":
    main(sys.argv[1])
"""


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module that worker processes can import."""
    (tmp_path / "normwise_test_work.py").write_text(WORK)
    monkeypatch.syspath_prepend(str(tmp_path))
    sys.modules.pop("normwise_test_work", None)
    return importlib.import_module("normwise_test_work")


def until(condition: Callable[[], bool], seconds: float = 60.0) -> bool:
    """Whether the condition came true within the time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return condition()


def running(pid: int) -> bool:
    """Whether there is such a process, and not only its remains."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] not in ("Z", "X")


def test_workers_give_every_result_once_on_one_thread_each(work: ModuleType, tmp_path: Path) -> None:
    tasks = [Task("sum", str(i), work.add, (i, 10)) for i in range(7)]
    with Processes(1, 100) as pool:
        results = {done.task.key: done.record for done in pool.run(tasks)}
        (place,) = pool.run([Task("where", "", work.where, ())])
        # A worker that dies once costs its tasks another try, and nothing else.
        mortal = Task("die", "die", work.die, (str(tmp_path / "once"), 1))
        after = {done.task.key: done.record for done in pool.run([*tasks[:2], mortal])}
        (next_place,) = pool.run([Task("where", "", work.where, ())])
    assert results == {str(i): 110 + i for i in range(7)}
    pid, threads, ignores_interrupts = place.record
    assert pid != os.getpid()
    assert threads == 1
    assert ignores_interrupts
    assert after == {"0": 110, "1": 111, "die": "alive"}
    assert next_place.record[0] != pid
    assert until(lambda: not running(pid) and not running(next_place.record[0]))


def test_two_tasks_that_each_cost_a_worker_once_do_not_end_the_run(work: ModuleType, tmp_path: Path) -> None:
    first, second = (Task("die", name, work.die, (str(tmp_path / name), 1)) for name in ("first", "second"))
    between = [Task("sum", str(i), work.add, (i, 10)) for i in range(3)]
    with Processes(1, 100) as pool:
        records = {done.task.key: done.record for done in pool.run([first, *between, second])}
    assert records == {"first": "alive", "0": 110, "1": 111, "2": 112, "second": "alive"}


def test_a_worker_that_dies_again_is_an_error(work: ModuleType, tmp_path: Path) -> None:
    tasks = [Task("sum", "sum", work.add, (1, 2)), Task("die", "die", work.die, (str(tmp_path / "twice"), 2))]
    finished = []

    def run(pool: Processes) -> None:
        for done in pool.run(tasks):
            finished.append(done.record)

    with (
        Processes(1, 100) as pool,
        pytest.raises(WorkerDiedError, match=r"killed twice.*--workers 1.*finished trials are kept"),
    ):
        run(pool)
    assert finished == [103]


def test_workers_that_never_start_are_told_apart(work: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    # As in a script that calls compare without a guard: every worker dies while it imports the script.
    def broken(*_: object) -> None:
        raise BrokenProcessPool

    monkeypatch.setattr(ProcessPoolExecutor, "submit", broken)
    with (
        Processes(1, 100) as pool,
        pytest.raises(WorkerDiedError, match="workers import the script again"),
    ):
        list(pool.run([Task("sum", "sum", work.add, (1, 2))]))


def test_workers_end_with_a_parent_that_is_killed(work: ModuleType, tmp_path: Path) -> None:
    started = tmp_path / "started"
    started.mkdir()
    parent = subprocess.Popen([sys.executable, str(work.__file__), str(started)], stderr=subprocess.PIPE)
    try:
        assert until(lambda: len(list(started.iterdir())) == 2)
        workers = [int(path.name) for path in started.iterdir()]
        assert all(running(pid) for pid in workers)
    finally:
        os.kill(parent.pid, signal.SIGKILL)
        parent.communicate()
    assert until(lambda: not any(running(pid) for pid in workers), seconds=10)
