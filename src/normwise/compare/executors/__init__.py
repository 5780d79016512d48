"""Where trials run."""

from normwise.compare.executors.processes import Processes, WorkerDiedError
from normwise.compare.executors.task import Done, Task

__all__ = ["Done", "Processes", "Task", "WorkerDiedError"]
