"""A program: everything that makes a training, in a record that can be compared, hashed and named."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from torch import nn

from normwise.diagnose.measure import default_loss
from normwise.diagnose.subject import Data, OptimizerChoice, Setup
from normwise.initialize import initialize_
from normwise.testing.faults.datasets import data_set
from normwise.testing.faults.networks import network

OPTIMIZERS: Mapping[str, tuple[str, float, tuple[tuple[str, Any], ...]]] = MappingProxyType(
    {
        "sgd": ("SGD", 0.1, ()),
        "momentum": ("SGD", 0.03, (("momentum", 0.9),)),
        "nesterov": ("SGD", 0.03, (("momentum", 0.9), ("nesterov", True))),
        "adam": ("Adam", 3e-3, ()),
        "adamw": ("AdamW", 3e-3, ()),
        "nadam": ("NAdam", 3e-3, ()),
        "rmsprop": ("RMSprop", 1e-3, ()),
        "adagrad": ("Adagrad", 0.03, ()),
    }
)
"""Of each optimizer torch's class, a learning rate that suits these programs, and options."""

_KNOWN_GAINS = ("relu", "leaky_relu", "gelu", "silu", "tanh", "sigmoid")


def pick(options: Sequence[Any], text: str) -> Any:
    """One of the options by a hash of a text: the same on every machine."""
    return options[int(hashlib.sha256(text.encode()).hexdigest(), 16) % len(options)]


@dataclass(frozen=True)
class Training:
    """What a program comes to: a setup and its data, where a fault can change anything."""

    setup: Setup
    data: Data


@dataclass(frozen=True)
class Program:
    """Everything that makes a training.

    Attributes:
        architecture: "mlp", "cnn", "residual" or "transformer".
        data: the name of a data set, of `SETS`.
        depth: blocks.
        width: units, channels or size of a token.
        activation: of `ACTIVATIONS`.
        norm: "none", "batch", "layer", "group", "instance" or "rms".
        initialization: "default" for torch's own, or a scheme of `initialize_`.
        scale: factor on the weights of a scheme.
        optimizer: of `OPTIMIZERS`.
        lr: learning rate; None for the optimizer's in `OPTIMIZERS`.
        batch_size: samples.
        dropout: probability that a unit is dropped.
        weight_decay: on weights, not on norms and biases.
        skip: an mlp of residual blocks.
        steps: of the training.
    """

    architecture: str
    data: str
    depth: int = 3
    width: int = 32
    activation: str = "relu"
    norm: str = "none"
    initialization: str = "he"
    scale: float = 1.0
    optimizer: str = "adam"
    lr: float | None = None
    batch_size: int = 32
    dropout: float = 0.0
    weight_decay: float = 0.0
    skip: bool = False
    steps: int = 200

    @property
    def name(self) -> str:
        """Every choice in a few letters.

        >>> Program("mlp", "wine", norm="batch").name
        'mlp-wine-3x32-relu-batch-he-adam-b32'
        """
        parts = [self.architecture, self.data, f"{self.depth}x{self.width}", self.activation, self.norm]
        parts += [self.initialization, self.optimizer, f"b{self.batch_size}"]
        extras = {
            "scale": self.scale != 1,
            "lr": self.lr is not None,
            "dropout": self.dropout != 0,
            "weight_decay": self.weight_decay != 0,
            "skip": self.skip,
            "steps": self.steps != 200,
        }
        parts += [f"{name}={getattr(self, name):g}" for name, differs in extras.items() if differs]
        return "-".join(parts)

    def build(self, seed: int) -> nn.Sequential:
        """The network with the initial weights of a seed."""
        data = data_set(self.data)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = network(
                self.architecture,
                tuple(data.inputs.shape[1:]),
                data.classes or 1,
                depth=self.depth,
                width=self.width,
                activation=self.activation,
                norm=self.norm,
                dropout=self.dropout,
                skip=self.skip,
            )
            if self.initialization != "default":
                followed = self.activation if self.activation in _KNOWN_GAINS else "relu"
                batch = data.inputs[:256] if self.initialization == "lsuv" else None
                initialize_(
                    model, self.initialization, scale=self.scale, seed=seed, batch=batch, activation=followed
                )
        return model

    def training(self, seed: int = 0) -> Training:
        """The setup with the network of a seed, and the data."""
        kind, lr, options = OPTIMIZERS[self.optimizer]
        choice = OptimizerChoice(kind, lr if self.lr is None else self.lr, options)
        if self.weight_decay:
            choice = choice.with_options(weight_decay=self.weight_decay)
        data = data_set(self.data)
        return Training(Setup(self.build(seed), choice, self.batch_size, default_loss(data.targets)), data)
