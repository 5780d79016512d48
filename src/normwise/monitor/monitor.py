"""Watch a training loop, layer by layer, at a small share of its time."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from normwise.errors import ArgumentError, explain
from normwise.monitor.check import Check
from normwise.monitor.figures import Window
from normwise.monitor.modes import compare_modes
from normwise.monitor.pace import Pace
from normwise.monitor.places import places_of
from normwise.monitor.records import ModesRecord, Record, StepRecord
from normwise.monitor.refuse import WHO, not_in_backward, plain_model, plain_optimizer
from normwise.monitor.sinks import Sink, sinks_of


class Monitor:
    """Watches the steps of an optimizer in a ``with`` block; the loop itself needs no other line.

    A step is watched from the end of the one before: its first forward pass by hooks, its gradients and the true
    weight deltas around ``optimizer.step()``. That changes no number of the training: no random number is drawn, and
    parameters, buffers, gradients and modes are only read. Between watched steps there are two hooks, both on the
    optimizer.

    - *Cost*: the first step is watched; after that as often as the measured cost of a check allows (`overhead`). On a
      GPU the wait for the device counts as cost. Memory is that of a few vectors per layer and of `keep` records.
    - *Accumulation*: activations are those of the first forward pass, gradients those that the optimizer gets.
    - *Clipping*: gradients are those after it; `StepRecord.clipping` is the factor.
    - *GradScaler*: gradients are unscaled, also where a fused optimizer does it. A step that the scaler leaves out is
      no step. Give `scaler` to have its scale in the records, and out of `StepRecord.clipping`.
    - *DDP*: give either the wrapped model or the one inside. Activations are those of this process; gradients are
      averaged over all.
    - *Refused*: compiled and scripted modules, `DataParallel`, FSDP, optimizers that step during the backward pass.

    Args:
        model: with linear layers or convolutions; uncompiled.
        optimizer: that trains the model, or a wrapper that holds it as `optimizer`.
        sinks: paths for JSON lines, and callables that take each record. `normwise.integrations.TensorBoard` is one.
        overhead: the share of a step's time that checks may take on average, by their own clock; `math.inf` for no
            limit. The default leaves room for what no clock of theirs sees, such as caches, within 2 %.
        every: steps from one check to the next, at least.
        window: checks in a window, over which channels are compared and dead units must be silent.
        keep: records that `records` holds.
        scaler: a `torch.amp.GradScaler`, if there is one.

    Attributes:
        notes: what holds for all records, in sentences.

    Raises:
        ArgumentError: (a ValueError) wrong arguments, on construction; what is refused, on entering, or at the first
            step that shows it.

    >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    >>> optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    >>> with Monitor(model, optimizer) as monitor:
    ...     for _ in range(3):
    ...         optimizer.zero_grad()
    ...         model(torch.randn(16, 4)).square().mean().backward()
    ...         optimizer.step()
    >>> [layer.activation for layer in monitor.records[0].layers]
    ['relu', '']
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        *,
        sinks: Iterable[Sink | str | os.PathLike[str]] = (),
        overhead: float = 0.01,
        every: int = 10,
        window: int = 10,
        keep: int = 1000,
        scaler: torch.amp.GradScaler | None = None,
    ) -> None:
        for name, value in {"every": every, "window": window, "keep": keep}.items():
            _must(isinstance(value, int) and value >= 1, f"`{name}` must be an integer of at least 1", value)
        is_share = isinstance(overhead, int | float) and overhead > 0
        _must(is_share, "`overhead` must be a positive share of a step's time", overhead)
        _must(scaler is None or hasattr(scaler, "_get_scale_async"), "`scaler` must be a GradScaler", scaler)
        self._model = plain_model(model)
        self._optimizer = plain_optimizer(optimizer, self._model)
        self._places = places_of(self._model, self._optimizer)
        self._scaler = scaler
        self._sinks = sinks_of(sinks)
        self._records: deque[Record] = deque(maxlen=keep)
        self._windows = {place.name: Window(window) for place in self._places}
        self._pace = Pace(overhead, every)
        self._parallel = isinstance(model, DistributedDataParallel) or _processes() > 1
        self._step = 0
        self._check: Check | None = None
        self._handles: list[RemovableHandle] = []
        self.notes: tuple[str, ...] = _notes(self._parallel)

    @property
    def records(self) -> tuple[Record, ...]:
        """The latest records, oldest first."""
        return tuple(self._records)

    @property
    def steps(self) -> tuple[StepRecord, ...]:
        """Those of `records` that are of steps."""
        return tuple(record for record in self._records if isinstance(record, StepRecord))

    def check_eval(
        self, *inputs: Any, loss: Callable[[Any], Tensor] | None = None, **options: Any
    ) -> ModesRecord:
        """Run a batch in training and in evaluation, and say how far apart the outputs are, and by which layers.

        To be called between steps. Modes, buffers and random state are as before afterwards.

        Args:
            inputs, options: for the model.
            loss: loss(output) → scalar; None leaves losses out.

        Returns:
            What also goes to `records` and to the sinks.

        >>> model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5))
        >>> monitor = Monitor(model, torch.optim.SGD(model.parameters(), 0.1))
        >>> seen = monitor.check_eval(torch.randn(16, 4))
        >>> seen.of_norms, seen.of_rest > 0.1
        (0.0, True)
        """
        record = compare_modes(self._model, lambda: self._model(*inputs, **options), loss, self._step)
        self._deliver(record)
        return record

    def __enter__(self) -> Monitor:
        _must(not self._handles, "a monitor must be entered once at a time", "one that is open")
        plain_model(self._model)  # it may have been compiled meanwhile
        self._handles = [
            self._optimizer.register_step_pre_hook(self._before_step),
            self._optimizer.register_step_post_hook(self._after_step),
        ]
        if self._step == 0 or self._pace.due():
            self._open()
        return self

    def __exit__(self, *raised: object) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []
        self._close()

    def _open(self) -> None:
        self._check = Check(self._model, self._places, self._optimizer, self._scaler, not self._parallel)

    def _close(self) -> None:
        if self._check is not None:
            self._check.close()
        self._check = None

    def _before_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> Any:
        check = self._check
        if check is None:
            return None
        not_in_backward()
        args, kwargs, closed = _with_closure(args, kwargs, check.before)
        if closed:
            return args, kwargs
        check.before()
        return None

    def _after_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        check = self._check
        if check is None:
            self._pace.unwatched()
        else:
            self._close()
            record = check.record(self._step, self._windows, _rank())
            began = time.perf_counter()
            self._deliver(record)
            self._pace.watched(check.seconds + time.perf_counter() - began)
        self._step += 1
        if self._pace.due():
            self._open()

    def _deliver(self, record: Record) -> None:
        self._records.append(record)
        for sink in self._sinks:
            sink(record)


def _with_closure(args: Any, kwargs: Any, then: Callable[[], None]) -> tuple[Any, Any, bool]:
    """The arguments of a step whose closure is followed by `then` when it is called first, and whether it has one."""
    closure = args[1] if len(args) > 1 else kwargs.get("closure")
    if closure is None:
        return args, kwargs, False
    calls = 0

    def watched() -> Any:
        nonlocal calls
        loss = closure()
        calls += 1
        if calls == 1:
            then()
        return loss

    if len(args) > 1:
        return (args[0], watched, *args[2:]), kwargs, True
    return args, {**kwargs, "closure": watched}, True


def _must(holds: bool, must: str, got: object) -> None:
    if not holds:
        raise ArgumentError(explain(WHO, must, got if isinstance(got, str) else repr(got)))


def _processes() -> int:
    there = torch.distributed.is_available() and torch.distributed.is_initialized()
    return torch.distributed.get_world_size() if there else 1


def _rank() -> int:
    there = torch.distributed.is_available() and torch.distributed.is_initialized()
    return torch.distributed.get_rank() if there else 0


def _notes(parallel: bool) -> tuple[str, ...]:
    if not parallel:
        return ()
    return (
        f"activations and batch statistics are those of process {_rank()} of {_processes()}",
        "clipping cannot be told under DDP: gradients are averaged between the backward pass and the step",
    )
