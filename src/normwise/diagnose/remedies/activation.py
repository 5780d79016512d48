"""Another activation."""

from __future__ import annotations

import itertools

import torch
from torch import nn

from normwise.diagnose.remedies.setup import inputs_of
from normwise.diagnose.subject import Setup
from normwise.errors import ArgumentError, explain
from normwise.models.activation import make_activation
from normwise.monitor.preserve import preserved
from normwise.monitor.signals import WEIGHTED

_KINDS: dict[type[nn.Module], str] = {
    nn.ReLU: "relu",
    nn.ReLU6: "relu6",
    nn.LeakyReLU: "leaky_relu",
    nn.RReLU: "rrelu",
    nn.PReLU: "prelu",
    nn.ELU: "elu",
    nn.SELU: "selu",
    nn.CELU: "celu",
    nn.GELU: "gelu",
    nn.SiLU: "silu",
    nn.Mish: "mish",
    nn.Softplus: "softplus",
    nn.Softsign: "softsign",
    nn.Tanh: "tanh",
    nn.Hardtanh: "hardtanh",
    nn.Sigmoid: "sigmoid",
    nn.Hardsigmoid: "hardsigmoid",
    nn.Hardswish: "hardswish",
}


def kind_of_activation(module: nn.Module) -> str:
    """Name of an activation's function; "" for other modules.

    >>> kind_of_activation(nn.LeakyReLU()), kind_of_activation(nn.Linear(1, 1))
    ('leaky_relu', '')
    """
    return _KINDS.get(type(module), "")


def swap_activation(setup: Setup, name: str, kind: str) -> Setup:
    """Put another activation into the place of one, at all places where that module stands.

    Args:
        setup: whose model is changed.
        name: of the activation, or of the layer behind which it is called next.
        kind: "relu", "leaky_relu", "gelu", "silu", "tanh" or "sigmoid".

    Raises:
        UnknownNameError: no such kind.
        ArgumentError: the model has no such module, or it calls its activation as a function.
    """
    modules = dict(setup.model.named_modules())
    if name not in modules:
        raise ArgumentError(explain("swap_activation", "`name` must be that of a module", repr(name)))
    old = modules[name] if kind_of_activation(modules[name]) else _behind(setup, name)
    # Drawn up first, because a parent may hold the module under several names.
    places = [path for path, module in setup.model.named_modules(remove_duplicate=False) if module is old]
    new = make_activation(kind, "swap_activation").train(old.training)
    for path in places:
        parent, _, key = path.rpartition(".")
        setup.model.get_submodule(parent)._modules[key] = new
    return setup


def _behind(setup: Setup, layer: str) -> nn.Module:
    """The first activation that is called after a layer and before the next one."""
    calls: list[tuple[str, nn.Module]] = []
    watched = [
        (n, m) for n, m in setup.model.named_modules() if kind_of_activation(m) or isinstance(m, WEIGHTED)
    ]
    handles = [
        module.register_forward_pre_hook(lambda module, _, name=name: calls.append((name, module)))
        for name, module in watched
    ]
    try:
        with preserved(setup.model, training=True), torch.no_grad():
            setup.model(inputs_of(setup, "swap_activation"))
    finally:
        for handle in handles:
            handle.remove()
    for (name, _), (_, after) in itertools.pairwise(calls):
        if name == layer and kind_of_activation(after):
            return after
    must = f"an activation must be called behind `{layer}` as a module"
    raise ArgumentError(explain("swap_activation", must, "none", "change the function in `forward`"))
