"""Independent tasks side by side in worker processes, one thread each.

Each worker has a pipe of its own and one task at a time. There is no queue, lock or thread between them, so that an
interrupt at any moment, or a worker that dies in the middle of a word, leaves nothing behind that others wait for.

Workers are spawned: forking after a parallel region hangs. A worker ends with its parent, however that ends. The
context goes to them as a file whose arrays they map, so that a large table is in memory once for all of them.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import shutil
import signal
import tempfile
import threading
import traceback
from collections import deque
from collections.abc import Generator, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from normwise._optional import require
from normwise.compare.executors.task import Done, Task
from normwise.errors import NormwiseError, explain


class WorkerDiedError(NormwiseError, RuntimeError):
    """A worker process died twice at the same task, most often for want of memory."""


class Processes:
    """Worker processes that outlive a batch of tasks; use as a context manager."""

    def __init__(self, workers: int, context: Any) -> None:
        self._most = workers
        self._workers: list[_Worker] = []
        self._folder = tempfile.TemporaryDirectory(prefix="normwise-", ignore_cleanup_errors=True)
        self._context = Path(self._folder.name) / "context"
        joblib = require("joblib", extra="compare", who="training in worker processes")
        joblib.dump(context, self._context)

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        # Workers in the middle of a task are stopped: what they would give is not waited for.
        for worker in self._workers:
            worker.stop()
        self._folder.cleanup()

    def run(self, tasks: Sequence[Task]) -> Generator[Done]:
        """Run the tasks and yield each as it ends; what a task raises is raised here.

        Raises:
            WorkerDiedError: a second worker died at the same task, or before it could take one.
        """
        waiting, deaths = deque(tasks), set[str]()
        try:
            while waiting or self._busy():
                self._hand_out(waiting)
                for worker, task in self._heard():
                    kind, value = worker.answer()
                    if kind == "started":
                        worker.started = True
                    elif kind == "died":
                        self._dismiss(worker)
                        _forgive_once(task.key if worker.started else _START, deaths)
                        waiting.appendleft(task)
                    elif kind == "raised":
                        worker.task = None
                        raise value
                    else:
                        worker.task = None
                        if waiting:
                            worker.take(waiting.popleft())
                        yield Done(task, value)
        finally:
            # Whoever leaves in the middle must not hear old answers in the next batch.
            for worker, _ in self._busy():
                self._dismiss(worker)

    def _dismiss(self, worker: _Worker) -> None:
        worker.stop()
        self._workers.remove(worker)

    def _busy(self) -> list[tuple[_Worker, Task]]:
        return [(worker, worker.task) for worker in self._workers if worker.task is not None]

    def _hand_out(self, waiting: deque[Task]) -> None:
        """A task for every idle worker, and for as many new ones as there may be."""
        for worker in self._workers:
            if waiting and worker.task is None:
                worker.take(waiting.popleft())
        while waiting and len(self._workers) < self._most:
            self._workers.append(_Worker(self._context))
            self._workers[-1].take(waiting.popleft())

    def _heard(self) -> list[tuple[_Worker, Task]]:
        """The busy workers that have said something or died, with their tasks; waits for the first."""
        busy = self._busy()
        ready = wait([worker.pipe for worker, _ in busy])
        return [(worker, task) for worker, task in busy if worker.pipe in ready]


class _Worker:
    """A process that runs one task at a time, and the pipe to it."""

    def __init__(self, context: Path) -> None:
        spawn = multiprocessing.get_context("spawn")
        self.pipe, theirs = spawn.Pipe()
        self._process = spawn.Process(target=_work, args=(theirs, context), daemon=True)
        self._process.start()
        theirs.close()  # so that the end of the process is the end of the pipe
        self.started = False
        self.task: Task | None = None

    def take(self, task: Task) -> None:
        self.task = task
        with contextlib.suppress(BrokenPipeError):  # of a worker that has died: its answer says so
            self.pipe.send(task)

    def answer(self) -> tuple[str, Any]:
        """What happened, and with it the record of a task that is `done`, the error of one that `raised`."""
        try:
            return self.pipe.recv()  # type: ignore[no-any-return]
        except (EOFError, OSError):
            return "died", None

    def stop(self) -> None:
        self._process.kill()
        self._process.join()
        self.pipe.close()


_START = ""  # in the place of a task's key


def _forgive_once(key: str, deaths: set[str]) -> None:
    if key not in deaths:
        deaths.add(key)
    elif key == _START:
        raise WorkerDiedError(
            explain(
                "compare",
                "worker processes must start",
                "workers that died before their first task",
                'in a script, call it under `if __name__ == "__main__":`, because workers import the script again; '
                "otherwise memory may be short, and --workers 1 needs less",
            )
        )
    else:
        raise WorkerDiedError(
            explain(
                "compare",
                "worker processes must survive their trials",
                f"a worker that was killed twice at {key}, most often for want of memory",
                "use --workers 1 or smaller networks; finished trials are kept",
            )
        )


def _work(pipe: Connection, context: Path) -> None:
    """The life of a worker: one thread, no interrupts of its own, one task after another, no life after its parent."""
    import torch

    # Standard output is the answer's, and thousands of lines from trainings side by side are of no use on the other.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent, context.parent), daemon=True).start()
    loaded = require("joblib", extra="compare", who="training in worker processes").load(
        context, mmap_mode="r"
    )
    pipe.send(("started", None))
    while True:
        task = pipe.recv()
        try:
            answer = "done", task.function(*task.arguments, loaded)
        except BaseException as error:
            answer = "raised", _portable(error)
        pipe.send(answer)


def _end_with(parent: Any, folder: Path) -> None:
    parent.join()
    shutil.rmtree(folder, ignore_errors=True)  # a parent that was killed could not
    os._exit(1)


def _portable(error: BaseException) -> BaseException:
    """The error with where it came from, as one that the other side can read."""
    told = "".join(traceback.format_exception(error))
    error.add_note(f"in a worker process:\n{told}")
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # an error may refuse in any way it likes
        return RuntimeError(told)
    return error
