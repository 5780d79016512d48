"""A short training on a copy of the model, watched from its first step to its last."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from normwise.diagnose.facts import Evaluated, RunFacts
from normwise.diagnose.subject import Data, Loss, Setup
from normwise.models.left_alone import detached_copy
from normwise.monitor.observe import Observation, observe
from normwise.monitor.preserve import preserved
from normwise.monitor.signals import WEIGHTED

_LOOKS = 10
"""Evaluations and observations of a training, beside the one before it."""

_SEEN = 32
"""Fewest samples of the batch that is observed."""

_ROWS = 512
"""Samples of each part that are evaluated."""

_VALUES = 1 << 18
"""Numbers in the answers for which the best constant is looked for."""

_DESCENT = 100
"""Steps to it."""


def run(
    setup: Setup,
    data: Data,
    steps: int,
    *,
    seed: int = 0,
    watch: bool = True,
    baseline_loss: float | None = None,
) -> RunFacts:
    """Train a copy for so many steps.

    Args:
        setup: the model and all that trains it.
        data: what it is trained on.
        steps: at most; a training that is no longer finite ends there.
        seed: of the order of the samples and of dropout.
        watch: measure updates and observations, too; else only losses and evaluations.
        baseline_loss: of the best constant answer, where another run of the same data and loss has found it.
    """
    from normwise.diagnose.measure import norm_states  # it measures what this room trains

    data = _transformed(data, setup)
    model = detached_copy(setup.model).train(not setup.evaluates)
    optimizer = setup.optimizer.make(model)
    named = [(name, m.weight) for name, m in model.named_modules() if isinstance(m, WEIGHTED)]
    weights: list[tuple[str, Tensor]] = [(n, w) for n, w in named if isinstance(w, nn.Parameter)]
    looks = {round(steps * i / _LOOKS) for i in range(_LOOKS + 1)} | {1, 2, 5}
    losses: list[float] = []
    norms: list[float] = []
    observed: list[tuple[int, Observation]] = []
    evaluated: list[Evaluated] = []
    updates: dict[str, list[tuple[int, float]]] = {name: [] for name, _ in weights}
    decay: dict[str, list[tuple[int, float]]] = {name: [] for name, _ in weights}
    batch = min(_ROWS, setup.batch_size)
    seen = max(batch, _SEEN)  # of fewer samples nobody can tell whether a unit is off for all
    fixed = data.inputs[:seen], data.targets[:seen]
    diverged: int | None = None
    source = data.batches(setup.batch_size, seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for step in range(steps + 1):
            look = step in looks
            if look:
                evaluated.append(_evaluated(model, data, setup.loss, step))
                if watch:
                    observed.append((step, observe(model, *fixed, setup.loss)))
            if step == steps:
                break
            inputs, targets = next(source)
            optimizer.zero_grad(set_to_none=True)
            loss = setup.loss(model(inputs), targets)
            loss.backward()  # type: ignore[no-untyped-call]
            gradients = [_dense(p.grad) for p in model.parameters() if p.grad is not None]
            norm = float(nn.utils.get_total_norm(gradients)) if gradients else 0.0
            losses.append(float(loss.detach()))
            norms.append(norm)
            if not (math.isfinite(losses[-1]) and math.isfinite(norm)):
                diverged = step
                break
            if setup.clip is not None:
                nn.utils.clip_grad_norm_(model.parameters(), setup.clip)
            before = [w.detach().clone() for _, w in weights] if watch and look else []
            if before and setup.optimizer.weight_decay:
                for name, w in weights:
                    if w.grad is not None:
                        pull = setup.optimizer.weight_decay * float(w.detach().norm())
                        decay[name].append((step, pull / max(float(w.grad.norm()), 1e-30)))
            optimizer.step()
            for (name, w), old in zip(weights, before, strict=False):
                size = float(old.norm())
                updates[name].append((step, float((w.detach() - old).norm()) / max(size, 1e-30)))
    return RunFacts(
        len(losses),
        tuple(losses),
        tuple(norms),
        diverged,
        tuple(observed),
        {name: tuple(values) for name, values in updates.items()},
        {name: tuple(values) for name, values in decay.items() if values},
        tuple(evaluated),
        baseline_metric(data),
        _baseline_loss(model, data, setup.loss) if baseline_loss is None else baseline_loss,
        norm_states(model, data.inputs[:batch]) if diverged is None and watch else (),
    )


def _dense(gradient: Tensor) -> Tensor:
    """The values of a sparse one, as an embedding may have; the others are zero."""
    return gradient.coalesce().values() if gradient.is_sparse else gradient


def _transformed(data: Data, setup: Setup) -> Data:
    if setup.transform is None:
        return data
    change = setup.transform(data.inputs)
    return Data(
        change(data.inputs),
        data.targets,
        change(data.validation_inputs),
        data.validation_targets,
        data.task,
        data.classes,
    )


def _evaluated(model: nn.Module, data: Data, loss: Loss, step: int) -> Evaluated:
    train = data.inputs[:_ROWS], data.targets[:_ROWS]
    held_out = data.validation_inputs[:_ROWS], data.validation_targets[:_ROWS]
    with preserved(model, training=False), torch.no_grad():
        answers = [model(x) for x, _ in (train, held_out)]
    with preserved(model, training=True), torch.no_grad():
        torch.manual_seed(step)
        batch_loss = float(loss(model(train[0]), train[1]))
    return Evaluated(
        step,
        float(loss(answers[0], train[1])),
        metric_of(answers[0], train[1], data),
        float(loss(answers[1], held_out[1])),
        metric_of(answers[1], held_out[1], data),
        batch_loss,
    )


def metric_of(output: Any, targets: Tensor, data: Data) -> float:
    """Accuracy, or R² of a regression; NaN of anything but one tensor of scores or numbers."""
    if not isinstance(output, Tensor):
        return math.nan
    if data.task == "classification" and targets.is_floating_point():
        half = (
            0.5 if float(output.min()) >= 0 and float(output.max()) <= 1 else 0.0
        )  # probabilities, or scores
        return float(((output.reshape(targets.shape) > half) == (targets > 0.5)).float().mean())
    if data.task == "classification":
        of_classes = 1 if output.shape[:1] + output.shape[2:] == targets.shape else -1
        return float((output.argmax(dim=of_classes) == targets).float().mean())
    if output.numel() != targets.numel():
        return math.nan
    residual = (output.reshape(targets.shape) - targets).square().mean()
    return float(1 - residual / targets.var(correction=0).clamp_min(1e-30))


def _baseline_loss(model: nn.Module, data: Data, loss: Loss) -> float:
    """Of the best answer that does not look at its input; infinite where the model gives no tensor."""
    inputs, targets = data.inputs[:_ROWS], data.targets[:_ROWS]
    with preserved(model, training=False), torch.no_grad():
        few = model(inputs[:2])
    if not isinstance(few, Tensor) or not few.is_floating_point():
        return math.inf
    rows = max(2, min(len(inputs), _VALUES // max(1, few[0].numel())))
    constants = [few.mean(dim=0)]
    if data.task == "classification" and tuple(few.shape[1:]) == (data.classes,):
        shares = _counts(targets, data.classes).float() / len(targets)
        constants.append(shares.clamp_min(1e-6).log())
    elif data.task == "regression" and few[0].numel() == targets[0].numel():
        constants.append(targets.float().mean(dim=0).reshape(few.shape[1:]))
    return min(_descended(constant, targets[:rows], loss) for constant in constants)


def _descended(constant: Tensor, targets: Tensor, loss: Loss) -> float:
    """The least loss that a constant answer has on its way down from this one; infinite where the loss takes none."""
    if not bool(torch.isfinite(constant).all()):
        return math.inf
    answer = constant.detach().float().clone().requires_grad_(True)
    optimizer = torch.optim.Adam([answer], lr=0.03 * (1.0 + float(answer.detach().abs().mean())))
    best = math.inf
    try:
        with torch.enable_grad():
            for _ in range(_DESCENT):
                optimizer.zero_grad()
                value = loss(answer.expand(len(targets), *answer.shape), targets)
                if not math.isfinite(float(value.detach())):
                    break
                best = min(best, float(value.detach()))
                value.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
    except Exception:  # a loss of somebody's own may take probabilities, or anything
        return best
    return best


def _counts(targets: Tensor, classes: int) -> Tensor:
    """Of each class; 0 and 1 may be floating-point numbers."""
    return torch.bincount(targets.flatten().long().clamp_min(0), minlength=classes)


def baseline_metric(data: Data) -> float:
    """Of the best constant answer: the largest class, or the mean."""
    if data.task == "regression":
        return 0.0
    counts = _counts(data.targets, data.classes)
    return float((data.validation_targets == counts.argmax()).float().mean())
