"""From a subject to facts: everything is measured here, and the subject is as before afterwards."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own abbreviation

from normwise.diagnose.facts import DataFacts, Facts, NormState, RunFacts
from normwise.diagnose.independence import mixes_samples
from normwise.diagnose.outcome import gained, learned_little, progress
from normwise.diagnose.run import run
from normwise.diagnose.scoring import scoring_of
from normwise.diagnose.subject import Subject
from normwise.errors import ArgumentError, explain
from normwise.graph import Graph, trace
from normwise.graph.trace import run_on
from normwise.monitor.observe import Observation, observe
from normwise.monitor.preserve import preserved
from normwise.surgery._convert_kinds import kind_of
from normwise.surgery._insert_norms import is_norm

UNOBSERVED = (nn.RNNBase, nn.RNNCellBase, nn.Embedding, nn.EmbeddingBag, nn.MultiheadAttention)
"""Layers with weights that `observe` does not look into."""

_LONGER = 4
"""Times the steps, before a training is said to get nowhere."""

_USUAL = 0.1
"""Share of values that make one the background of all."""

_DRAWS = 3
"""Other initial draws from which a builder's networks are trained."""


def measure(subject: Subject) -> Facts:
    """All facts that the subject allows.

    Raises:
        ArgumentError: the model does not run on the batch.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Using a target size")  # NW407 says it
        return _measured(subject)


def _measured(subject: Subject) -> Facts:
    graph, untraced = _traced(subject)
    start = _observed(subject, training=True)
    trained = (
        None
        if subject.data is None or subject.setup is None
        else run(subject.setup, subject.data, subject.steps)
    )
    return Facts(
        subject,
        graph,
        untraced,
        norm_states(subject.model, subject.inputs),
        start,
        _observed(subject, training=False),
        _data(subject),
        trained,
        _uniform(subject, start),
        _draws(subject, trained),
        scoring_of(subject) if start is not None else None,
        _longer(subject, trained),
        start is not None and mixes_samples(subject),
        _silent(subject) if start is not None else (),
    )


def _longer(subject: Subject, short: RunFacts | None) -> RunFacts | None:
    """Many a healthy training has a slow beginning."""
    if short is None or subject.data is None or subject.setup is None:
        return None
    if short.diverged is not None or not learned_little(short):
        return None
    steps = _LONGER * subject.steps
    return run(subject.setup, subject.data, steps, watch=False, baseline_loss=short.baseline_loss)


def _data(subject: Subject) -> DataFacts | None:
    """Of the training part, or of the rows of a real batch."""
    if subject.data is not None:
        return data_facts(subject.data.inputs, subject.data.targets, subject.data.classes)
    inputs, targets = subject.inputs, subject.targets
    if subject.made_up or not isinstance(inputs, Tensor) or targets is None or inputs.dim() < 2:
        return None
    return data_facts(inputs, targets, 0)


def _draws(subject: Subject, trained: RunFacts | None) -> tuple[float, ...]:
    """How far trainings of the same length come from other draws of the initial weights."""
    if subject.build is None or subject.data is None or subject.setup is None or trained is None:
        return ()
    setups = (replace(subject.setup, model=subject.build(seed)) for seed in range(1, 1 + _DRAWS))
    known = trained.baseline_loss
    runs = [run(setup, subject.data, subject.steps, watch=False, baseline_loss=known) for setup in setups]
    return tuple(max(progress(each), gained(each)) for each in runs)


def _traced(subject: Subject) -> tuple[Graph | None, str]:
    if subject.inputs is None:
        return None, "there is no input to run it on"
    try:
        return trace(subject.model, subject.inputs, who="diagnose"), ""
    except ArgumentError as error:
        return None, str(error)


def _observed(subject: Subject, *, training: bool) -> Observation | None:
    inputs, targets, loss = subject.inputs, subject.targets, subject.loss
    if inputs is None or targets is None or loss is None:
        return None
    try:
        return observe(subject.model, inputs, targets, loss, training=training, gradients=training)
    except (RuntimeError, TypeError, ValueError, IndexError, AttributeError) as error:
        must, got = "model and loss must run on the batch", f"{type(error).__name__}: {error}".rstrip(".")
        raise ArgumentError(explain("diagnose", must, got)) from error


def _silent(subject: Subject) -> tuple[str, ...]:
    """Layers beside linear ones and convolutions, which `observe` looks at, that no gradient reaches."""
    named = [(name, m) for name, m in subject.model.named_modules() if isinstance(m, UNOBSERVED)]
    owned = {
        name: [p for p in m._parameters.values() if p is not None and p.requires_grad] for name, m in named
    }
    wanted = [p for parameters in owned.values() for p in parameters]
    if not wanted or subject.loss is None or subject.targets is None:
        return ()
    with preserved(subject.model, training=True), torch.enable_grad():
        torch.manual_seed(0)
        loss = subject.loss(run_on(subject.model, subject.inputs), subject.targets)
        if not loss.requires_grad:
            return tuple(name for name, parameters in owned.items() if parameters)
        reached = {
            id(p)
            for p, gradient in zip(wanted, torch.autograd.grad(loss, wanted, allow_unused=True), strict=True)
            if gradient is not None
        }
    return tuple(
        name
        for name, parameters in owned.items()
        if parameters and not reached.intersection(map(id, parameters))
    )


def _uniform(subject: Subject, start: Observation | None) -> float | None:
    """ln C, where the loss is a cross-entropy over C classes."""
    targets = subject.targets
    if start is None or targets is None or targets.is_floating_point() or len(start.output_shape) < 2:
        return None
    return math.log(max(1, start.output_shape[1]))


def norm_states(model: nn.Module, inputs: Any) -> tuple[NormState, ...]:
    """The normalizations of a model, and what comes to them in training mode, where there is an input."""
    named = [(name, m) for name, m in model.named_modules() if is_norm(m) and not list(m.children())]
    states = {name: _norm_state(name, module) for name, module in named}

    def note(name: str, module: nn.Module, args: tuple[Any, ...]) -> None:
        calls = states[name].calls + 1
        looked = args and isinstance(args[0], Tensor) and args[0].dim() > 1 and calls == 1
        state = _met(states[name], module, args[0].detach()) if looked else states[name]
        states[name] = replace(state, calls=calls, evaluates=not module.training)

    handles = [module.register_forward_pre_hook(partial(note, name)) for name, module in named]
    try:
        if inputs is not None and named:
            with preserved(model, training=True), torch.no_grad():
                torch.manual_seed(0)
                run_on(model, inputs)
    finally:
        for handle in handles:
            handle.remove()
    return tuple(states.values())


def _norm_state(name: str, module: nn.Module) -> NormState:
    known = kind_of(module)
    tracked = module._buffers.get("num_batches_tracked")
    count = None if tracked is None else int(tracked)
    return NormState(name, module, "" if known is None else known[0], tracked=count)


def _met(state: NormState, module: Any, x: Tensor) -> NormState:
    """The same with what its first input says."""
    found = replace(state, values=_values(module, state.kind, x), channels=x.shape[1])
    if state.kind not in ("batch", "sync", "frozen", "ghost", "batch_renorm"):
        return found
    mean, var = module._buffers.get("running_mean"), module._buffers.get("running_var")
    rows = x.float().transpose(0, 1).flatten(1)
    batch_mean, batch_var = rows.mean(dim=1), rows.var(dim=1, correction=0)
    eps = float(module.eps)
    found = replace(found, constant=float((batch_var <= eps).float().mean()))
    if mean is None or var is None or rows.shape[1] < 2:
        return found
    scale = (var.float() + eps).sqrt()
    return replace(
        found,
        shift=float(((batch_mean - mean.float()).abs() / scale).max()),
        spread=float(((batch_var + eps) / (var.float() + eps)).log2().abs().max()),
    )


def _values(module: Any, kind: str, x: Tensor) -> int:
    """Values that share one statistic."""
    samples, channels = x.shape[:2]
    positions = x[0, 0].numel()
    if kind == "group":
        return int(channels // module.num_groups * positions)
    if kind == "instance":
        return positions
    if kind in ("layer", "rms"):
        shape = getattr(module, "normalized_shape", None)
        return math.prod(shape) if shape is not None else channels
    if kind == "ghost":
        return int(min(samples, module.ghost_size) * positions)
    return samples * positions


def data_facts(inputs: Tensor, targets: Tensor, classes: int) -> DataFacts:
    """What samples are like; of inputs that are indices there is no scale."""
    x = (
        inputs.float()
        if inputs.is_floating_point()
        else inputs.new_zeros(len(inputs), 0, dtype=torch.float32)
    )
    if x.dim() == 1:
        x = x[:, None]
    columns = x.transpose(0, 1).flatten(1) if x.dim() > 2 else x.T
    finite = torch.isfinite(columns)
    clean = torch.where(finite, columns, 0.0)
    count = finite.sum(dim=1).clamp_min(1)
    means = clean.sum(dim=1) / count
    scales = (((clean - means[:, None]).square() * finite).sum(dim=1) / count).sqrt()
    constant = [i for i, (m, s) in enumerate(zip(means, scales, strict=True)) if s <= 1e-6 * (1 + abs(m))]
    regression = targets.is_floating_point()
    return DataFacts(
        tuple(map(float, scales)),
        tuple(map(float, means)),
        tuple(constant),
        _blank(clean, means, constant) if x.dim() == 2 else (),
        ()
        if regression or targets.dim() > 1  # words and pixels are never evenly spread
        else tuple(torch.bincount(targets.flatten().clamp_min(0), minlength=classes).tolist()),
        float(targets.double().mean()) if regression else None,
        float(targets.double().std()) if regression else None,
        len(x),
        int((~finite).sum()),
    )


def _blank(columns: Tensor, means: Tensor, constant: Sequence[int]) -> tuple[int, ...]:
    """Constant columns of zeros, and of what many a value of the others is, as the margin of a picture."""
    others = torch.ones(len(columns), dtype=torch.bool)
    others[list(constant)] = False
    varying = columns[others]

    def usual(value: Tensor) -> bool:
        return bool(varying.numel()) and float(((varying - value).abs() <= 1e-6).float().mean()) >= _USUAL

    return tuple(i for i in constant if abs(means[i]) <= 1e-6 or usual(means[i]))


def default_loss(targets: Tensor) -> Any:
    """Cross-entropy for classes, mean squared error for numbers."""
    if targets.is_floating_point():
        return lambda output, wanted: F.mse_loss(output.reshape(wanted.shape), wanted)
    return F.cross_entropy
