"""Independent tasks side by side in worker processes, one thread each.

Workers are spawned: forking after a parallel region hangs. A worker ends with its parent, however that ends. The
context goes to them as a file whose arrays they map, so that a large table is in memory once for all of them.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from normwise._optional import require
from normwise.compare.executors.task import Done, Task
from normwise.errors import NormwiseError, explain

_context: Any = None


class WorkerDiedError(NormwiseError, RuntimeError):
    """A worker process died twice at the same task, most often for want of memory."""


class Processes:
    """A pool of worker processes that outlives a batch of tasks; use as a context manager."""

    def __init__(self, workers: int, context: Any) -> None:
        self._workers = workers
        self._folder = tempfile.TemporaryDirectory(prefix="normwise-", ignore_cleanup_errors=True)
        self._context = Path(self._folder.name) / "context"
        joblib = require("joblib", extra="compare", who="training in worker processes")
        joblib.dump(context, self._context)
        self._pool = self._start()

    def _start(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(
            self._workers,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_enter,
            initargs=(self._context,),
        )

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        # Workers in the middle of a task are stopped: what they would give is not waited for.
        processes = list((self._pool._processes or {}).values())
        self._pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            with contextlib.suppress(ProcessLookupError, OSError):
                process.terminate()
        self._folder.cleanup()

    def run(self, tasks: Sequence[Task]) -> Generator[Done]:
        """Run the tasks and yield each as it ends; at most two tasks a worker are handed out ahead.

        Raises:
            WorkerDiedError: a worker died, and again before any other task had ended: the task at hand is to blame.
        """
        retried = ended = False
        remaining = list(tasks)
        while remaining:
            try:
                for done in self._run_once(remaining):
                    ended, retried = True, False
                    remaining.remove(done.task)
                    yield done
            except BrokenProcessPool:
                if retried and not ended:
                    raise WorkerDiedError(
                        explain(
                            "compare",
                            "worker processes must start",
                            "workers that died before their first result",
                            'in a script, call it under `if __name__ == "__main__":`, because workers import the '
                            "script again; otherwise memory may be short, and --workers 1 needs less",
                        )
                    ) from None
                if retried:
                    raise WorkerDiedError(
                        explain(
                            "compare",
                            "worker processes must survive their trials",
                            "a worker that was killed twice, most often for want of memory",
                            "use --workers 1 or smaller networks; finished trials are kept",
                        )
                    ) from None
                retried = True
                self._pool = self._start()

    def _run_once(self, tasks: Sequence[Task]) -> Generator[Done]:
        waiting = iter(tasks)
        running: dict[Future[Any], Task] = {}
        for task in tasks[: 2 * self._workers]:
            next(waiting)
            running[self._pool.submit(_call, task)] = task
        while running:
            finished, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                task = running.pop(future)
                record = future.result()
                following = next(waiting, None)
                if following is not None:
                    running[self._pool.submit(_call, following)] = following
                yield Done(task, record)


def _enter(context: Path) -> None:
    """Make a worker: one thread, no interrupts of its own, no life after its parent."""
    global _context
    import torch

    # Standard output is the answer's, and thousands of lines from trainings side by side are of no use on the other.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent, context.parent), daemon=True).start()
    _context = require("joblib", extra="compare", who="training in worker processes").load(
        context, mmap_mode="r"
    )


def _end_with(parent: Any, folder: Path) -> None:
    parent.join()
    shutil.rmtree(folder, ignore_errors=True)  # a parent that was killed could not
    os._exit(1)


def _call(task: Task) -> Any:
    return task.function(*task.arguments, _context)
