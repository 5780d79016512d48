import importlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
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


class Odd(Exception):
    def __init__(self, one, two):
        super().__init__(f"{one} {two}")


def plain():
    raise ValueError("no luck")


def odd():
    raise Odd("one", "two")


def fail(how, context):
    how()


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


def test_workers_that_never_start_are_told_apart(tmp_path: Path) -> None:
    """A script that calls compare without a guard: every worker dies while it imports the script."""
    script = tmp_path / "unguarded.py"
    script.write_text(
        "from normwise.compare.executors import Processes, Task\n"
        "with Processes(1, 100) as pool:\n"
        "    list(pool.run([Task('test', 'print', print, ())]))\n"
    )
    ended = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert "died before their first task" in ended.stderr
    assert "workers import the script again" in ended.stderr


def test_what_a_task_raises_is_raised_with_its_place_in_the_worker(work: ModuleType) -> None:
    with Processes(1, 100) as pool:
        with pytest.raises(ValueError, match="no luck") as caught:
            list(pool.run([Task("fail", "fail", work.fail, (work.plain,))]))
        assert "in fail" in "".join(caught.value.__notes__)
        # An error that cannot be read on the other side arrives as what was printed of it.
        with pytest.raises(RuntimeError, match="Odd: one two"):
            list(pool.run([Task("fail", "odd", work.fail, (work.odd,))]))
        (after,) = pool.run([Task("sum", "sum", work.add, (1, 2))])
    assert after.record == 103


def test_a_batch_left_in_the_middle_does_not_answer_in_the_next(work: ModuleType) -> None:
    with Processes(1, 100) as pool:
        batch = pool.run([Task("sum", str(i), work.add, (i, 0)) for i in range(3)])
        assert next(batch).record == 100
        batch.close()
        (after,) = pool.run([Task("sum", "after", work.add, (5, 0))])
    assert (after.task.key, after.record) == ("after", 105)


def test_an_idle_worker_that_dies_is_replaced(work: ModuleType) -> None:
    where = Task("where", "where", work.where, ())
    with Processes(1, 100) as pool:
        (first,) = pool.run([where])
        os.kill(first.record[0], signal.SIGKILL)
        assert until(lambda: not running(first.record[0]))
        (second,) = pool.run([where])
    assert second.record[0] != first.record[0]


def test_an_interrupt_at_any_moment_ends_the_run(work: ModuleType, tmp_path: Path) -> None:
    """The signal comes after so many tasks, and then at whatever instruction of the loop is being run."""
    script = tmp_path / "interrupted.py"
    script.write_text(
        "import signal, sys\n"
        "from normwise.compare.executors import Processes, Task\n"
        "from normwise_test_work import add\n"
        "if __name__ == '__main__':\n"
        "    with Processes(2, 100) as pool:\n"
        "        for done in pool.run([Task('sum', str(i), add, (i, 1)) for i in range(100_000)]):\n"
        "            if done.task.key == '20':\n"
        "                signal.signal(signal.SIGALRM, signal.default_int_handler)\n"
        "                signal.setitimer(signal.ITIMER_REAL, float(sys.argv[1]))\n"
    )
    for after in (1e-4, 1e-3):
        ended = subprocess.run(
            [sys.executable, script, str(after)],
            env={**os.environ, "PYTHONPATH": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert ended.returncode == -signal.SIGINT, ended.stderr
        assert "KeyboardInterrupt" in ended.stderr


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
