"""Running statistics become those of given data: precise batch normalization."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from normwise.errors import ArgumentError, explain, unknown_name
from normwise.results.edits import Edit, Edits
from normwise.surgery._batches import Forward, batches_of, call, check_loader, count_of
from normwise.surgery._copy import copied
from normwise.surgery._eligible import reasons
from normwise.surgery._fresh import own_statistics
from normwise.surgery._pool import pool_over_processes, told_by_all
from normwise.surgery._select import Where
from normwise.surgery._shift import shift
from normwise.surgery._site_kinds import site_of
from normwise.surgery._sites import Site
from normwise.surgery._survey import check_model
from normwise.surgery._twins import describe
from normwise.surgery._watch import prepared, preserved, watched

_WHO = "recalibrate"
_HOW = ("batch", "sequential")


def recalibrate(
    model: nn.Module,
    loader: Iterable[Any],
    *,
    forward: Forward | None = None,
    how: str = "batch",
    where: Where = None,
    batches: int | None = None,
    progress: Callable[[int, int | None], object] | None = None,
    process_group: Any = None,
    distributed: bool = True,
    inplace: bool = False,
) -> tuple[nn.Module, Edits]:
    """Give every layer with running statistics those of the data: of all values, as if they were one batch.

    Mean and variance of the inputs of a layer are pooled over all batches, ``σ² = (Σ M₂ + Σ n·(m − μ)²) / (Σ n − 1)``
    with n, m, M₂ of each batch in float64 (Σ n where `biased_running_var`): the spread between batches is in it, and a
    batch counts by its size, or by the weights (`sample_weight`) that reach the layer. Instance normalization gets the
    means over all instances of their means and unbiased variances, decorrelated batch normalization the whitening of
    the pooled covariance, each domain and each split its own. `num_batches_tracked` says of how many batches
    they are (batch renormalization's stays: it says how far its schedule is). A part that is not finite is left out.

    What deeper layers see depends on how shallower ones normalize, for which there are two answers:

    - ``how="batch"``: each layer normalizes each batch by the batch's own statistics, as in training; one pass. This is
      precise batch normalization. With several processes, each normalizes by its own batches.
    - ``how="sequential"``: each layer by its *new* statistics, as evaluation does afterwards; the first layer that is
      called gets its statistics from a first pass, the next from a second one, and so on: a pass for each layer. Only
      so are the statistics exactly those of what the layer will see, and a batch may be a single sample. (A layer that
      is called several times a pass is the exception: for its later calls its own statistics are the former ones.)

    Apart from that the model runs as in evaluation, without dropout, gradients, talk between processes or a trace in
    random states. Left alone, with the reason in the record: frozen statistics (`freeze_statistics`, `freeze`, or
    ``track_running_stats = False``), a layer that is in evaluation in a model in training (``norm.eval()``, by which
    torch's are often frozen), and layers that no batch reached. After an error the model is as it was, in all
    processes.

    Args:
        model: any module; of `AveragedModel` and `DistributedDataParallel` what is in it is called.
        loader: gives batches: tensors, tuples or lists of which the first is the input, or dicts of arguments.
        forward: how the model is called with a batch; None calls it with what is said above, on its device.
        how: "batch" or "sequential".
        where: which layers, by name, pattern or class (`freeze` has examples); None for all.
        batches: at most so many; None for all that the loader gives.
        progress: called after every batch with how many are done and how many there are, or None.
        process_group: of `torch.distributed`, over which statistics are merged; None for the default one.
        distributed: merge over processes where there are several; each may have any number of batches.
        inplace: change this model's buffers, instead of giving a copy with buffers of its own.

    Returns:
        The model, and for each layer how far mean and standard deviation have moved.

    Raises:
        ArgumentError: (a ValueError) no layer has running statistics, no batch came, a channel has one value only,
            nothing but values that are not finite, or statistics beyond the dtype of their buffers (a variance above
            65504 in torch's layers in float16); what is said about the arguments does not hold.
        UnknownNameError: `how` is not known.

    Source: Wu & Johnson 2021 ("Rethinking 'batch' in BatchNorm"), section 3; Chan, Golub & LeVeque 1983.

    >>> import torch
    >>> batches = [torch.tensor([[0.0], [2.0]]), torch.tensor([[10.0], [12.0]])]
    >>> model, edits = recalibrate(nn.BatchNorm1d(1), batches)
    >>> model.running_mean, model.running_var.round(decimals=2)
    (tensor([6.]), tensor([34.6700]))
    >>> edits[""].why
    'mean moved by up to 1 σ, σ times 5.9; 4 values of each channel in 2 batches'
    """
    check_model(_WHO, model)
    if how not in _HOW:
        raise unknown_name(_WHO, "how", str(how), _HOW)
    if batches is not None and batches < 1:
        raise ArgumentError(explain(_WHO, "`batches` must be at least 1", f"{batches}"))
    check_loader(_WHO, loader, again=how == "sequential")
    why = reasons(_WHO, model, where, modes=True)
    names = [name for name, reason in why.items() if reason is None]
    if not inplace:
        model = copied(model, _WHO)
        own_statistics(model, names)
    modules = dict(model.named_modules())
    sites = {name: site_of(modules[name], name) for name in names}
    several = distributed and _processes(process_group) > 1
    if sites:
        run = _Run(model, list(sites.values()), loader, forward or call, batches, progress)
        run.group = (process_group,) if several else ()
        with preserved(model), prepared(run.sites, batchwise=how == "batch"):
            run.by_batches() if how == "batch" else run.in_order()
    if several:
        _tell_widest(list(sites.values()), process_group)
    for site in sites.values():
        site.refuse(_WHO)
    # All new values, and what is said of them, before the first is written.
    new = {name: found for name, site in sites.items() if (found := site.results())}
    edits = []
    for name, reason in why.items():
        text = describe(modules[name])
        if name in new:
            edits.append(Edit(name, text, f"{text}, recalibrated", shift(sites[name], new[name])))
        else:
            edits.append(Edit(name, text, text, reason or "no value reached it"))
    with torch.no_grad():
        for holder, values in (pair for found in new.values() for pair in found):
            for key, value in values.items():
                holder.get_buffer(key).copy_(value)
    notes = (f"merged over {_processes(process_group)} processes",) if several and sites else ()
    return model, Edits(_WHO, tuple(edits), notes)


class _Run:
    """Passes over the data.

    Attributes:
        sites: the layers in question.
        group: of processes, as the one element of a tuple; empty where there is one process alone.
    """

    def __init__(
        self,
        model: nn.Module,
        sites: list[Site],
        loader: Iterable[Any],
        forward: Forward,
        limit: int | None,
        progress: Callable[[int, int | None], object] | None,
    ) -> None:
        parallel = isinstance(model, nn.parallel.DistributedDataParallel | nn.DataParallel)
        # The wrapper would talk to other processes, which may have fewer batches.
        self._model: Any = model.module if parallel else model
        self.sites = sites
        self.group: tuple[Any, ...] = ()
        self._loader, self._forward, self._limit = loader, forward, limit
        self._progress = progress
        self._done = 0
        self._passes = 1

    def by_batches(self) -> None:
        """One pass for all layers."""
        with watched(self.sites, batchwise=True):
            self._pass(lambda: 0.0)
        if self.group:
            pool_over_processes([pool for site in self.sites for pool in site.pools], *self.group)

    def in_order(self) -> None:
        """A pass for each layer, in the order in which they are called."""
        rest = list(self.sites)
        self._passes = len(rest)
        while rest:
            with watched(rest, batchwise=False) as order:
                first = self._pass(lambda order=order: self.sites.index(order[0]) if order else -1.0)  # type: ignore[misc]
            if first < 0:
                return
            site = self.sites[int(first)]
            if self.group:
                pool_over_processes(site.pools, *self.group)
            for holder, values in site.results():
                site.show(holder, values)
            rest.remove(site)

    def _pass(self, first: Callable[[], float]) -> float:
        """Call the model with all batches; which layer came first, as all processes have it."""
        count, error = 0, None
        try:
            for batch in batches_of(self._loader, self._limit):
                self._forward(self._model, batch)
                count += 1
                self._done += 1
                if self._progress is not None:
                    total = count_of(self._loader, self._limit)
                    self._progress(self._done, None if total is None else total * self._passes)
        except Exception as raised:
            raised.add_note(f"{_WHO}: in batch {count + 1}; the model is as it was")
            if not self.group:
                raise
            error = raised
        told = [[float(error is not None), float(count), float(first())]]
        if self.group:
            # Before anybody waits for what will not come: who failed says so.
            told = told_by_all(told[0], *self.group)
        if error is not None:
            raise error
        failed = [str(rank) for rank, (wrong, _, _) in enumerate(told) if wrong]
        if failed:
            raise ArgumentError(
                explain(_WHO, "all processes must succeed", f"an error in {', '.join(failed)}")
            )
        if not any(batches for _, batches, _ in told):
            hint = "a generator gives its batches once"
            raise ArgumentError(explain(_WHO, "`loader` must give a batch", "none", hint))
        layers = {number for _, _, number in told if number >= 0}
        if len(layers) > 1:
            must = "all processes must call the layers in the same order"
            raise ArgumentError(explain(_WHO, must, f"{len(layers)} different ones first", "use how='batch'"))
        return layers.pop() if layers else -1.0


def _tell_widest(sites: list[Site], group: Any) -> None:
    """Let all processes know what one of them has shown, so that all refuse it, or none."""
    told = told_by_all([0.0 if site.widest is None else float(site.widest) for site in sites], group)
    for site, values in zip(sites, zip(*told, strict=True), strict=True):
        site.widest = torch.tensor(max(values), dtype=torch.float64) if max(values) else None


def _processes(group: Any) -> int:
    there = dist.is_available() and dist.is_initialized()
    return dist.get_world_size(group) if there else 1
