"""Bare trainings that differ in one thing, and what they reach on held-out samples."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from normwise.diagnose.remedies.setup import copied
from normwise.diagnose.run import baseline_metric, metric_of
from normwise.diagnose.subject import Data, Setup, Subject
from normwise.errors import ArgumentError, explain
from normwise.monitor.preserve import preserved

Change = Callable[[Setup, int], Setup]
"""From a setup and a seed to the setup that is trained; the model that it gets is its own."""

HELD_OUT = 8192
"""Most held-out samples of an evaluation: an accuracy of .9 is known to ±0.65 pp then."""

_EXAMPLE = 512
_CHUNK = 1024


def parts(subject: Subject) -> tuple[Setup, Data]:
    """The training of a subject, with an example for remedies that look at data.

    Raises:
        ArgumentError: the subject has none.
    """
    if subject.setup is None or subject.data is None:
        must, got = "the subject must have a training to be tried", "one without setup or data"
        raise ArgumentError(explain("prove", must, got, "give training and validation data"))
    example = subject.setup.example
    if example is None:
        example = subject.data.inputs[:_EXAMPLE]
    return replace(subject.setup, example=example), subject.data


def outcomes(
    subject: Subject,
    change: Change,
    seeds: Sequence[int],
    steps: int,
    told: Callable[[], object] = lambda: None,
) -> tuple[float, ...]:
    """The held-out metric of each seed after a changed training.

    Args:
        subject: with setup and data; each seed draws its weights where the subject can be built.
        change: what is different.
        seeds: of weights, of the order of samples and of dropout; equal for all changes that are compared.
        steps: of each training.
        told: called after each.
    """
    found = []
    for seed in seeds:
        setup, data = drawn(subject, seed)
        found.append(metric_after(change(setup, seed), data, steps, seed))
        told()
    return tuple(found)


def drawn(subject: Subject, seed: int) -> tuple[Setup, Data]:
    """The training of a seed: with its draw of weights, or with the weights as given where there is one model only."""
    setup, data = parts(subject)
    return (replace(setup, model=subject.build(seed)) if subject.build else copied(setup)), data


def metric_after(setup: Setup, data: Data, steps: int, seed: int) -> float:
    """Train the setup's model and return accuracy or R² on held-out samples, at least that of the best constant answer.

    A training that diverges counts as that answer: it has learned nothing, and is never dropped. The floor holds for
    the others, too, since an R² of −10⁶ is no worse a network than one that is not finite.
    """
    floor = baseline_metric(data)
    change = setup.transform(data.inputs) if setup.transform is not None else lambda inputs: inputs
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        finite = _train(setup, data, change, steps, seed)
    metric = _metric(setup.model, data, change) if finite else floor
    return max(metric, floor) if math.isfinite(metric) else floor


def _train(setup: Setup, data: Data, change: Callable[[Tensor], Tensor], steps: int, seed: int) -> bool:
    """So many steps, as `run` does them; whether losses and gradients stayed finite."""
    model = setup.model.train(not setup.evaluates)
    optimizer = setup.optimizer.make(model)
    source = data.batches(setup.batch_size, seed)
    for _ in range(steps):
        inputs, targets = next(source)
        optimizer.zero_grad(set_to_none=True)
        loss = setup.loss(model(change(inputs)), targets)
        loss.backward()  # type: ignore[no-untyped-call]
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        norm = nn.utils.get_total_norm(gradients) if gradients else loss.detach()
        if not bool(torch.isfinite(loss.detach() + norm)):
            return False
        if setup.clip is not None:
            nn.utils.clip_grad_norm_(model.parameters(), setup.clip)
        optimizer.step()
    return True


def _metric(model: nn.Module, data: Data, change: Callable[[Tensor], Tensor]) -> float:
    inputs, targets = data.validation_inputs[:HELD_OUT], data.validation_targets[:HELD_OUT]
    with preserved(model, training=False), torch.no_grad():
        output = torch.cat([model(change(chunk)) for chunk in torch.split(inputs, _CHUNK)])
    return metric_of(output, targets, data) if bool(torch.isfinite(output).all()) else math.nan
