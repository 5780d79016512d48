"""Faults of structure: norms, dropout and activations in the wrong place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own abbreviation

from normwise.diagnose.subject import Setup
from normwise.testing.faults.fault import Fault, on_model, on_setup
from normwise.testing.faults.networks import chain, norm_of
from normwise.testing.faults.places import activated, insert, middle, normed, norms, remove, weighted

_PLAIN = ("mlp", "cnn", "residual")
_BATCH = {"norm": "batch"}


def _bias(model: nn.Module) -> Sequence[str]:
    name, _ = middle(normed(model))
    layer = model.get_submodule(name)
    layer.bias = nn.Parameter(torch.zeros(len(layer.weight)))  # type: ignore[arg-type]
    return (name,)


def _outputs(model: nn.Module) -> int:
    output: Any = model.get_submodule("head.output")
    return int(output.out_features)


def _batch_norm_on_output(model: nn.Module) -> Sequence[str]:
    return insert(model, "head.output", "norm_out", nn.BatchNorm1d(_outputs(model))), "head.output"


def _layer_norm_on_output(model: nn.Module) -> Sequence[str]:
    return insert(model, "head.output", "norm_out", nn.LayerNorm(_outputs(model))), "head.output"


def _dropout_before_norm(model: nn.Module) -> Sequence[str]:
    _, norm = middle(normed(model))
    return insert(model, norm, "dropout", nn.Dropout(0.5), after=False), norm


def _norm_last(model: nn.Module) -> Sequence[str]:
    """A branch that ends in an activation and a norm behind it."""
    branch = next(name for name, _ in reversed(list(model.named_modules())) if name.endswith(".branch"))
    parts = dict(model.get_submodule(branch).named_children())
    last = f"{branch}.{list(parts)[-1]}"
    if isinstance(model.get_submodule(last), nn.Linear):
        width = int(model.get_submodule(last).out_features)  # type: ignore[arg-type]
        added = insert(model, last, "tail", chain(activation=nn.ReLU(), norm=nn.LayerNorm(width)))
        return f"{added}.norm", f"{added}.activation"
    return last, insert(model, last, "activation2", nn.ReLU(), after=False)


def _groups_of_one(model: nn.Module) -> Sequence[str]:
    name = middle(norms(model))
    norm: Any = model.get_submodule(name)
    model.set_submodule(name, nn.GroupNorm(norm.num_channels, norm.num_channels))
    return (name,)


def _one_value(model: nn.Module) -> Sequence[str]:
    output: Any = model.get_submodule("head.output")
    width = int(output.in_features)
    return (insert(model, "head.output", "norm_in", nn.GroupNorm(width, width), after=False),)


def _layer_of_one(model: nn.Module) -> Sequence[str]:
    return (insert(model, "head.output", "norm_out", nn.LayerNorm(1)),)


def _twice(model: nn.Module) -> Sequence[str]:
    name = middle([name for name in norms(model) if not name.endswith(".inner")])
    norm: Any = model.get_submodule(name)
    width = int(norm.weight.numel())
    kind = {nn.GroupNorm: "group", nn.LayerNorm: "layer", nn.RMSNorm: "rms"}.get(type(norm), "batch")
    images = isinstance(norm, nn.BatchNorm2d | nn.GroupNorm)
    again = norm_of(kind, width, "cnn" if images else "mlp")
    assert again is not None
    return name, insert(model, name, "norm_again", again)


def _no_activation(model: nn.Module) -> Sequence[str]:
    pairs = activated(model)
    layer, activation = middle(pairs)
    names = weighted(model)
    remove(model, activation)
    return layer, names[names.index(layer) + 1]


def _softmax(model: nn.Module) -> Sequence[str]:
    return insert(model, "head.output", "softmax", nn.Softmax(dim=1)), "head.output", ""


def _relu(model: nn.Module) -> Sequence[str]:
    return insert(model, "head.output", "last", nn.ReLU()), "head.output", ""


def _nll(setup: Setup) -> Setup:
    return replace(setup, loss=F.nll_loss)


def _dropout_on_output(model: nn.Module) -> Sequence[str]:
    return insert(model, "head.output", "last", nn.Dropout(0.5)), "head.output", ""


class _Dropping(nn.Module):
    """Dropout that does not know of modes."""

    def forward(self, input: Tensor) -> Tensor:
        return F.dropout(input, 0.5)


def _dropout_in_evaluation(model: nn.Module) -> Sequence[str]:
    _, activation = middle(activated(model))
    return insert(model, activation, "dropping", _Dropping()), activation


def _softmax_over_samples(model: nn.Module) -> Sequence[str]:
    return "", insert(model, "head.output", "last", nn.LogSoftmax(dim=0)), "head.output"


def _broadcasting(setup: Setup) -> Setup:
    """Outputs (N, 1) less targets (N,) are (N, N)."""
    return replace(setup, loss=lambda output, targets: (output - targets.flatten()).square().mean())


def _signed(setup: Setup) -> Setup:
    def loss(output: Tensor, targets: Tensor) -> Tensor:
        classes = F.one_hot(targets, output.shape[1]).to(output.dtype)
        return F.binary_cross_entropy_with_logits(output, 2 * classes - 1)

    return replace(setup, loss=loss)


def _decay_all(setup: Setup) -> Setup:
    return replace(setup, optimizer=replace(setup.optimizer, spares_norms=False))


STRUCTURE = (
    Fault(
        "bias-before-norm",
        "structure",
        ("NW101",),
        "a layer in front of a batch normalization has a bias",
        on_model(_bias),
        _PLAIN,
        _BATCH,
    ),
    Fault(
        "batch-norm-on-output",
        "structure",
        ("NW102",),
        "a batch normalization gives the network's outputs",
        on_model(_batch_norm_on_output),
    ),
    Fault(
        "layer-norm-on-output",
        "structure",
        ("NW102",),
        "a layer normalization gives the network's outputs",
        on_model(_layer_norm_on_output),
        kind="classification",
    ),
    Fault(
        "dropout-before-batch-norm",
        "structure",
        ("NW103",),
        "dropout in front of a batch normalization, whose variance differs in evaluation",
        on_model(_dropout_before_norm),
        _PLAIN,
        _BATCH,
    ),
    Fault(
        "norm-after-last-activation",
        "structure",
        ("NW104",),
        "a residual branch ends in an activation and a norm",
        on_model(_norm_last),
        ("mlp", "residual", "transformer"),
        {"mlp": {"skip": True, "norm": "batch"}},
    ),
    Fault(
        "groups-of-one-channel",
        "structure",
        ("NW105",),
        "a group normalization with as many groups as channels",
        on_model(_groups_of_one),
        ("cnn", "residual", "transformer"),
        {"norm": "group"},
    ),
    Fault(
        "norm-over-one-value",
        "structure",
        ("NW106",),
        "a group normalization of features that have one value a group: its outputs are constant",
        on_model(_one_value),
    ),
    Fault(
        "layer-norm-of-one-output",
        "structure",
        ("NW106", "NW102"),
        "a layer normalization of a single output, which is constant then",
        on_model(_layer_of_one),
        kind="regression",
    ),
    Fault(
        "duplicate-norms",
        "structure",
        ("NW107",),
        "two normalizations of the same kind in a row",
        on_model(_twice),
        needs={"mlp": {"norm": "layer"}, "cnn": {"norm": "batch"}, "residual": {"norm": "batch"}},
    ),
    Fault(
        "missing-activation",
        "structure",
        ("NW108",),
        "no activation between two layers",
        on_model(_no_activation),
    ),
    Fault(
        "softmax-before-cross-entropy",
        "structure",
        ("NW109",),
        "probabilities go into a loss that takes scores",
        on_model(_softmax),
        kind="classification",
    ),
    Fault(
        "relu-on-output",
        "structure",
        ("NW111",),
        "a ReLU behind the last layer",
        on_model(_relu),
    ),
    Fault(
        "nll-without-log-softmax",
        "structure",
        ("NW115",),
        "scores go into a loss that takes logarithms of probabilities",
        on_setup(_nll),
        kind="classification",
    ),
    Fault(
        "dropout-on-output",
        "structure",
        ("NW112",),
        "dropout behind the last layer",
        on_model(_dropout_on_output),
    ),
    Fault(
        "dropout-in-evaluation",
        "structure",
        ("NW113",),
        "dropout as a function that is not told of modes",
        on_model(_dropout_in_evaluation),
    ),
    Fault(
        "softmax-over-samples",
        "structure",
        ("NW114",),
        "a softmax along the axis of the batch",
        on_model(_softmax_over_samples),
        kind="classification",
    ),
    Fault(
        "targets-broadcast",
        "structure",
        ("NW407",),
        "a loss that holds every output against every target",
        on_setup(_broadcasting),
        kind="regression",
    ),
    Fault(
        "signed-targets",
        "structure",
        ("NW408",),
        "classes as -1 and +1 in a binary cross-entropy",
        on_setup(_signed),
        kind="classification",
    ),
    Fault(
        "decay-on-norms",
        "structure",
        ("NW110",),
        "weight decay pulls the scales of norms to zero",
        on_setup(_decay_all, norms),
        needs={
            "optimizer": "adamw",
            "weight_decay": 0.05,
            "mlp": {"norm": "layer"},
            "cnn": {"norm": "batch"},
        },
    ),
)
