"""One batch in training and in evaluation: how far apart they are, and what keeps them apart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from normwise.errors import ArgumentError, explain
from normwise.monitor.figures import norm_of
from normwise.monitor.host import finite, to_host
from normwise.monitor.places import has_running
from normwise.monitor.preserve import preserved
from normwise.monitor.records import ModesRecord
from normwise.monitor.refuse import WHO


def compare_modes(
    model: nn.Module, call: Callable[[], Any], loss: Callable[[Any], Tensor] | None, step: int
) -> ModesRecord:
    """Run `call` in evaluation, in training, and with parts of the model in training; all is as before afterwards.

    Raises:
        ArgumentError: the model gives no floating-point outputs.
    """
    running = frozenset(id(module) for module in model.modules() if has_running(module))
    everything = frozenset(id(module) for module in model.modules())
    outputs = {
        name: _outputs(model, call, part)
        for name, part in {
            "eval": frozenset[int](),
            "difference": everything,
            "of_norms": running,
            "of_rest": everything - running,
        }.items()
    }
    base = _flat(outputs["eval"])
    spread = norm_of(base - base.mean())
    figures = {name: norm_of(_flat(each) - base) / spread for name, each in outputs.items() if name != "eval"}
    if loss is not None:
        with torch.no_grad():
            figures["training_loss"] = loss(outputs["difference"])
            figures["evaluation_loss"] = loss(outputs["eval"])
    values = {name: finite(value) for name, value in to_host(figures).items()}
    return ModesRecord(
        step,
        values["difference"],
        values["of_norms"],
        values["of_rest"],
        values.get("training_loss"),
        values.get("evaluation_loss"),
    )


def _outputs(model: nn.Module, call: Callable[[], Any], training: frozenset[int]) -> Any:
    devices = sorted({p.device.index for p in model.parameters() if p.device.type == "cuda"})
    with torch.random.fork_rng(devices), preserved(model, training=False), torch.no_grad():
        for module in model.modules():
            module.training = id(module) in training
        return call()


def _flat(output: Any) -> Tensor:
    leaves = [leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor) and leaf.is_floating_point()]
    if not leaves:
        must = "`check_eval` needs a model that gives floating-point tensors"
        raise ArgumentError(explain(WHO, must, f"a {type(output).__name__}"))
    return torch.cat([leaf.reshape(-1).float() for leaf in leaves])
