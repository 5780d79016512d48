"""What is diagnosed: a model, perhaps a batch, perhaps a training."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from normwise.errors import ArgumentError, explain
from normwise.regularizers import parameter_groups

Loss = Callable[[Any, Tensor], Tensor]


@dataclass(frozen=True)
class OptimizerChoice:
    """An optimizer in words, so that a remedy can change one.

    Attributes:
        name: of torch's class: "SGD", "Adam", "AdamW", …
        lr: learning rate.
        options: further arguments, such as momentum and weight_decay.
        spares_norms: weight decay leaves norms and biases out.
        factors: of the learning rate, by the names of parameters: 0 where one stays as it is, 1 for other names.
        kind: the class, where it is none of torch's.
    """

    name: str = "SGD"
    lr: float = 0.1
    options: tuple[tuple[str, Any], ...] = ()
    spares_norms: bool = True
    factors: tuple[tuple[str, float], ...] = ()
    kind: type[Optimizer] | None = None

    @property
    def weight_decay(self) -> float:
        """Its weight decay, 0 without one."""
        return float(dict(self.options).get("weight_decay", 0.0))

    def with_options(self, **changed: Any) -> OptimizerChoice:
        """The same with other options."""
        return replace(self, options=tuple((dict(self.options) | changed).items()))

    def make(self, model: nn.Module) -> Optimizer:
        """The optimizer for the parameters of a model.

        Raises:
            ArgumentError: a class of somebody's own is not made of parameters, a learning rate and its options alone.
        """
        kind: Any = self.kind or getattr(torch.optim, self.name)
        options = dict(self.options)
        decay = float(options.pop("weight_decay", 0.0))
        factors = dict(self.factors)
        by_id = {id(p): factors.get(name, 1.0) for name, p in model.named_parameters()}
        trained = [p for p in model.parameters() if p.requires_grad]
        groups: list[dict[str, Any]] = [{"params": trained, "weight_decay": decay}]
        if decay and self.spares_norms:
            groups = parameter_groups(model, weight_decay=decay)
        if any(factor != 1 for factor in factors.values()):
            groups = [
                {**group, "params": params, "lr": self.lr * factor}
                for group in groups
                for factor in sorted({by_id[id(p)] for p in group["params"]} - {0.0})
                if (params := [p for p in group["params"] if by_id[id(p)] == factor])
            ]
        try:
            made: Optimizer = kind(groups, lr=self.lr, **options)
        except TypeError as error:
            must = f"a {self.name} must be made of parameters, lr and its options, for a short training"
            hint = "diagnose a training by one of torch.optim"
            raise ArgumentError(explain("diagnose", must, f"TypeError: {error}", hint)) from error
        return made

    @classmethod
    def of(cls, optimizer: Optimizer, model: nn.Module) -> OptimizerChoice:
        """What an optimizer does to a model; of options that differ from group to group, those of the first.

        Raises:
            ArgumentError: its steps need a closure.
        """
        while isinstance(inner := getattr(optimizer, "optimizer", None), Optimizer):
            optimizer = inner  # what spreads it over devices
        name = type(optimizer).__name__
        closure = inspect.signature(type(optimizer).step).parameters.get("closure")
        if closure is not None and closure.default is inspect.Parameter.empty:
            must, hint = "`optimizer` must step without a closure", "diagnose a training by another one"
            raise ArgumentError(explain("diagnose", must, name, hint))
        group = optimizer.param_groups[0]
        known = inspect.signature(type(optimizer).__init__).parameters.keys() - {
            "self",
            "params",
            "lr",
            *_PLAIN,
        }
        decays = {float(each.get("weight_decay", 0.0)) for each in optimizer.param_groups}
        options = {name: group[name] for name in sorted(known) if name in group}
        options["weight_decay"] = max(decays)
        # A warm-up has set all rates to 0, and keeps those that it will reach.
        rates = {id(p): _rate(each) for each in optimizer.param_groups for p in each["params"]}
        held = [rates[id(p)] for p in model.parameters() if rates.get(id(p))]
        lr = held[0] if held else _rate(group)
        found = {name: rates.get(id(p), 0.0) / (lr or 1.0) for name, p in model.named_parameters()}
        same = not any(rates.get(id(p), 0.0) for p in model.parameters()) or set(found.values()) == {1.0}
        factors = () if same else tuple(found.items())
        kind = None if getattr(torch.optim, name, None) is type(optimizer) else type(optimizer)
        return cls(name, lr, tuple(options.items()), len(decays) > 1, factors, kind)


_PLAIN = ("foreach", "fused", "capturable", "differentiable")
"""Options that say how to compute, and not what."""


def _rate(group: dict[str, Any]) -> float:
    return float(group["lr"]) or float(group.get("initial_lr", 0.0))


@dataclass(frozen=True, eq=False)
class Setup:
    """All that makes a training: what a remedy changes.

    Attributes:
        model: with its initial weights.
        optimizer: what it is trained by.
        batch_size: samples of a batch.
        loss: loss(output, targets) → scalar.
        transform: from the training inputs to what changes inputs of all parts, as standardisation does; None leaves
            them as they are.
        clip: largest norm of the gradient; None for no clipping.
        evaluates: the model is in evaluation while it trains, which is a fault.
        example: a batch of inputs, for edits that watch a forward pass; None without.
    """

    model: nn.Module
    optimizer: OptimizerChoice
    batch_size: int
    loss: Loss
    transform: Callable[[Tensor], Callable[[Tensor], Tensor]] | None = None
    clip: float | None = None
    evaluates: bool = False
    example: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Data:
    """Inputs and targets of a training and of its validation, as tensors.

    Attributes:
        inputs, targets: of the training part.
        validation_inputs, validation_targets: held out.
        task: what the targets ask for.
        classes: how many; 0 for regression.
    """

    inputs: Tensor
    targets: Tensor
    validation_inputs: Tensor
    validation_targets: Tensor
    task: Literal["classification", "regression"]
    classes: int = 0

    def batches(self, size: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Endless batches, each epoch in another order; the last short one of an epoch is left out."""
        generator = torch.Generator().manual_seed(seed)
        size = min(size, len(self.inputs))
        while True:
            order = torch.randperm(len(self.inputs), generator=generator)
            for start in range(0, len(order) - size + 1, size):
                rows = order[start : start + size]
                yield self.inputs[rows], self.targets[rows]


@dataclass(frozen=True, eq=False)
class Subject:
    """What there is to look at; more of it lets more rules be asked.

    Attributes:
        model: the network.
        title: of it, for sentences.
        inputs, targets: one batch; inputs alone where there are no targets.
        loss: None where there are no targets.
        made_up: whether the inputs are random numbers.
        optimizer: as it was given.
        setup, data: of a short training; None without.
        build: a network with the draw of a seed, for trials with several; None where there is the model alone.
        steps: of the short training.
    """

    model: nn.Module
    title: str = "the model"
    inputs: Any = None
    targets: Tensor | None = None
    loss: Loss | None = None
    made_up: bool = False
    optimizer: Optimizer | None = None
    setup: Setup | None = None
    data: Data | None = None
    build: Callable[[int], nn.Module] | None = field(default=None)
    steps: int = 200
