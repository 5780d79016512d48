"""Micro-batches as replicas in one process: batch normalization sees the large batch."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from normwise import functional
from normwise.errors import ArgumentError, explain
from normwise.layers._sharing import sharing
from normwise.layers._tracking import Tracking, held


def lockstep(model: nn.Module, micro_batches: Sequence[Any]) -> list[Any]:
    """Run a model over several batches side by side, so that its batch normalizations normalize them as one.

    Outputs, gradients and running statistics are those of the concatenated batch, to rounding. So is the memory: what
    autograd keeps of all micro-batches is there at once. It is for batches that cannot be concatenated (images
    of several sizes), or that several calls make; where memory is short, nothing but a smaller model, checkpointing or
    another normalization helps.

    Each micro-batch runs in a thread, one at a time: at each batch normalization it waits for the others to arrive.
    All must call the same layers in the same order. Random numbers are drawn in the order of the micro-batches
    between two normalizations.

    Args:
        model: with batch normalizations of normwise, in training.
        micro_batches: the inputs; a tuple is several arguments, a dict named ones.

    Returns:
        The outputs, in order. Add up their losses for one backward pass.

    Raises:
        ArgumentError: (a ValueError) no batches, a model without batch normalization of normwise, or micro-batches that
            called different layers.

    >>> import normwise as nw
    >>> layer = nw.BatchNorm1d(1, eps=1e-12)
    >>> halves = [torch.tensor([[0.0], [2.0]]), torch.tensor([[10.0], [12.0]])]
    >>> together, whole = torch.cat(lockstep(layer, halves)), layer(torch.cat(halves))
    >>> torch.allclose(together, whole)
    True
    """
    if not micro_batches:
        raise ArgumentError(explain("lockstep", "`micro_batches` must hold at least one batch", "none"))
    turns = _Turns(len(micro_batches))
    with sharing("lockstep", model, lambda layer: _Meeting(layer, turns)):
        return turns.run([_caller(model, batch) for batch in micro_batches])


def _caller(model: nn.Module, batch: Any) -> Callable[[], Any]:
    if isinstance(batch, tuple):
        return lambda: model(*batch)
    if isinstance(batch, dict):
        return lambda: model(**batch)
    return lambda: model(batch)


class _Turns:
    """Threads that run one at a time, each up to its next meeting, in the order of their numbers."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._mine = threading.local()
        self._go = [threading.Semaphore(0) for _ in range(count)]
        self._back = threading.Semaphore(0)
        self._failure: BaseException | None = None
        self.errors: list[BaseException | None] = [None] * count
        self.done = [False] * count
        self.results: list[Any] = [None] * count
        self.waiting: list[tuple[_Meeting, tuple[Any, ...]] | None] = [None] * count

    @property
    def number(self) -> int:
        """Which micro-batch this thread runs."""
        number: int = self._mine.number
        return number

    def run(self, callers: Sequence[Callable[[], Any]]) -> list[Any]:
        """Run all callers to their ends."""
        mode, context = _Mode(), [contextvars.copy_context() for _ in callers]
        threads = [
            threading.Thread(target=context[n].run, args=(self._work, n, caller, mode), daemon=True)
            for n, caller in enumerate(callers)
        ]
        for thread in threads:
            thread.start()
        while not all(self.done):
            for number in range(self.count):
                if not self.done[number]:
                    self._go[number].release()
                    self._back.acquire()
            if not all(self.done):
                self._meet()
        for thread in threads:
            thread.join()
        # An error of a model comes before those that it caused in the other threads.
        for error in (*self.errors, self._failure):
            if error is not None and not isinstance(error, _LeftError):
                raise error
        return self.results

    def _work(self, number: int, caller: Callable[[], Any], mode: _Mode) -> None:
        self._mine.number = number
        self._go[number].acquire()
        try:
            with mode:
                self.results[number] = caller()
        except BaseException as error:  # raised again where the threads were started
            self.errors[number] = error
        finally:
            self.done[number] = True
            self.waiting[number] = None
            self._back.release()

    def meet(self, meeting: _Meeting, *given: Any) -> Any:
        """Wait until all others have come to the same meeting, and get this thread's part of its result."""
        number = self.number
        self.waiting[number] = (meeting, given)
        self._back.release()
        self._go[number].acquire()
        if self._failure is not None:
            raise _LeftError("lockstep: another micro-batch ended early")
        return meeting.results[number]

    def _meet(self) -> None:
        """All have arrived or ended: compute what they wait for, or let those that wait end, too."""
        arrived = [entry for entry in self.waiting if entry is not None]
        meetings = {id(meeting) for meeting, _ in arrived}
        if len(arrived) == self.count and len(meetings) == 1:
            meeting = arrived[0][0]
            meeting.results = meeting.together([given for _, given in arrived])
            return
        self._failure = ArgumentError(
            explain(
                "lockstep",
                "all micro-batches must call the same batch normalizations in the same order",
                f"{len(arrived)} of {self.count} at {len(meetings)} different layers, the others done",
            )
        )


class _LeftError(RuntimeError):
    """Ends the threads that wait for one that will not come."""


class _Mode:
    """The modes of a thread's caller that torch keeps for each thread: gradients, inference, autocast."""

    def __init__(self) -> None:
        self._grad = torch.is_grad_enabled()
        self._inference = torch.is_inference_mode_enabled()
        kinds = ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",)
        self._autocast = [
            (kind, torch.get_autocast_dtype(kind), torch.is_autocast_enabled(kind)) for kind in kinds
        ]
        self._threads = torch.get_num_threads()

    def __enter__(self) -> None:
        torch.set_num_threads(self._threads)
        # A thread has modes of its own, which end with it: nothing is to be put back.
        torch.autograd.set_grad_enabled(self._grad)
        if self._inference:
            torch.inference_mode().__enter__()
        for kind, dtype, enabled in self._autocast:
            torch.set_autocast_enabled(kind, enabled)
            torch.set_autocast_dtype(kind, dtype)

    def __exit__(self, *_: object) -> None:
        return None


class _Meeting:
    """How a layer normalizes together with the same layer of the other micro-batches."""

    def __init__(self, layer: Tracking, turns: _Turns) -> None:
        self.layer = layer
        self.turns = turns
        self.results: list[Tensor] = []

    def __call__(
        self, layer: Any, input: Tensor, sample_weight: Tensor | None = None, **after: Any
    ) -> Tensor:
        # All replicas move the same statistics: the first does it for all.
        running = layer.running() if layer.moves() and self.turns.number == 0 else None
        return functional.shared_batch_norm(
            input,
            lambda vector: self.turns.meet(self, vector),
            running,
            held(layer, "weight"),
            held(layer, "bias"),
            layer.eps,
            sample_weight=sample_weight,
            **after,
        )

    def together(self, given: list[tuple[Any, ...]]) -> list[Tensor]:
        """The sum of the vectors, for each."""
        total: Tensor = torch.stack([vector for (vector,) in given]).sum(0)
        return [total] * len(given)
