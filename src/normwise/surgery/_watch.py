"""A model that runs only for what its layers see: in evaluation, with buffers of its own, and given back as it was."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.parameter import is_lazy
from torch.nn.utils.rnn import PackedSequence
from torch.overrides import TorchFunctionMode

from normwise.surgery._sites import Site, arguments_of, is_ours

_ARGUMENTS = {
    functional.batch_norm: ("input", "running_mean", "running_var"),
    functional.instance_norm: ("input", "running_mean", "running_var"),
    torch.batch_norm: ("input", "weight", "bias", "running_mean", "running_var"),
    torch.instance_norm: ("input", "weight", "bias", "running_mean", "running_var"),
}
"""Operators that take running statistics, with their first arguments in order."""


@contextmanager
def preserved(model: nn.Module) -> Iterator[None]:
    """Run the block in evaluation, without gradients; give back modes, buffers, hooks and random states after it.

    Modes are attributes here: what a class does in its own `train` (merging weights, say) is not set off. Compiled
    modules run uncompiled, since a program knows nothing of hooks that come later.

    >>> model = nn.Sequential(nn.Dropout(), nn.BatchNorm1d(2))
    >>> with preserved(model):
    ...     model[1].running_mean.fill_(3.0), model.training
    (tensor([3., 3.]), False)
    >>> model[1].running_mean, model.training
    (tensor([0., 0.]), True)
    """
    modes = [(module, module.training) for module in model.modules()]
    places = [(module._buffers, dict(module._buffers)) for module in model.modules()]
    values = [
        (b, b._version, b.detach().clone())
        for b in model.buffers()
        if not is_lazy(b) and not b.is_inference()
    ]
    state = random.getstate()
    with ExitStack() as stack:
        devices = {t.device.index for t in model.parameters() if t.device.type == "cuda"}
        stack.enter_context(torch.random.fork_rng(devices=sorted(devices)))
        stack.callback(random.setstate, state)
        try:
            stack.enter_context(torch.no_grad())
            stack.enter_context(torch.compiler.set_stance("force_eager"))
            for module, _ in modes:
                module.training = False
            yield
        finally:
            for module, mode in modes:
                module.training = mode
            for now, before in places:
                now.clear()
                now.update(before)
            with torch.no_grad():
                for buffer, version, value in values:
                    if buffer._version != version:
                        buffer.copy_(value)


@contextmanager
def prepared(sites: Sequence[Site], *, batchwise: bool) -> Iterator[None]:
    """Within the block, which is within `preserved`, layers normalize by what is put into their buffers.

    So nothing else of training happens: no dropout, no counting, no talk with other processes.
    """
    with ExitStack() as stack:
        for site in sites:
            for holder in site.holders:
                holder._buffers.update(
                    {name: None if b is None else b.clone() for name, b in holder._buffers.items()}
                )
            stack.callback(site.restore)
            site.prepare(batchwise)
        yield


@contextmanager
def watched(sites: Sequence[Site], *, batchwise: bool) -> Iterator[list[Site]]:
    """Within the block, which is within `prepared`, what layers get goes into their pools.

    By batches, each layer is given a batch's statistics before it normalizes the batch; otherwise it normalizes by
    those that it has, and only that one has its inputs pooled that is called first.

    Yields:
        The layers in the order in which they are called first.
    """
    order: list[Site] = []

    def see(site: Site, input: Tensor, **named: Any) -> None:
        if site not in order:
            order.append(site)
        if batchwise or order[0] is site:
            site.take(batchwise, input, **named)

    with ExitStack() as stack:
        for site in sites:
            if is_ours(site.module):
                hook = site.module.register_forward_pre_hook(_hook(site, see), with_kwargs=True)
                stack.callback(hook.remove)
        rest = [site for site in sites if not is_ours(site.module)]
        if rest:
            stack.enter_context(_Operators(rest, see))
        yield order


def _hook(site: Site, see: Callable[..., None]) -> Any:
    def before(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        named = arguments_of(module, args, kwargs)
        input = named.pop("input")
        input = input.data if isinstance(input, PackedSequence) else input
        # What does not fit the layer is left to it to refuse.
        if isinstance(input, Tensor) and site.fits(input):
            see(site, input, **named)

    return before


class _Operators(TorchFunctionMode):
    """Sees torch's operators where they are given a layer's running statistics.

    What a class derived from torch's does before and after is its own affair: it may move axes, add an activation, or
    not normalize at all.
    """

    def __init__(self, sites: Sequence[Site], see: Callable[..., None]) -> None:
        super().__init__()
        self._sites = sites
        self._see = see

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        names = _ARGUMENTS.get(func, ())
        given = dict(zip(names, args, strict=False)) | kwargs
        site = self._site(given.get("running_mean"))
        if site is None:
            return func(*args, **kwargs)
        self._see(site, given["input"])
        fresh = {name: site.module._buffers[name] for name in ("running_mean", "running_var")}
        # In their places: the built-in operators know no names.
        args = (
            tuple(fresh.get(name, value) for name, value in zip(names, args, strict=False))
            + args[len(names) :]
        )
        return func(*args, **kwargs | {name: fresh[name] for name in fresh.keys() & kwargs.keys()})

    def _site(self, running_mean: Any) -> Site | None:
        found = (s for s in self._sites if s.module._buffers.get("running_mean") is running_mean)
        return None if running_mean is None else next(found, None)
