"""What rules read: everything is measured once, and nothing here says what is good or bad."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from normwise.diagnose.scoring import Scoring
from normwise.diagnose.subject import Subject
from normwise.graph import Graph
from normwise.monitor.observe import Observation


@dataclass(frozen=True, eq=False)
class NormState:
    """A normalization of the model.

    Attributes:
        name: dotted.
        module: the layer.
        kind: as `convert` has it: "batch", "layer", "group", …; "" for one that is not known.
        values: of one statistic on the batch, as N·S of a channel; None where it was not called.
        channels: of its input; None where it was not called.
        calls: on the batch.
        shift: largest |batch mean − running mean| / σ over channels; None without running statistics or a batch.
        spread: largest |log₂(batch variance / running variance)| over channels.
        constant: share of channels whose variance on the batch is below eps.
        tracked: batches in the running statistics; None where nobody counts.
        evaluates: it is in evaluation though the model was set to training before.
    """

    name: str
    module: nn.Module
    kind: str
    values: int | None = None
    channels: int | None = None
    calls: int = 0
    shift: float | None = None
    spread: float | None = None
    constant: float | None = None
    tracked: int | None = None
    evaluates: bool = False


@dataclass(frozen=True)
class DataFacts:
    """What the training inputs and targets are like; of a batch, where there is no more.

    Attributes:
        scales: standard deviation of each column, or channel of an image.
        means: of each.
        constant: columns or channels without any spread.
        blank: those of them that hold nothing but zero, or what is common in other columns, too.
        counts: rows of each class; empty for regression, and where a sample has many labels.
        target_mean, target_std: of a regression's target; else None.
        rows: that were looked at.
        not_finite: values that are not finite.
    """

    scales: tuple[float, ...]
    means: tuple[float, ...]
    constant: tuple[int, ...]
    blank: tuple[int, ...]
    counts: tuple[int, ...]
    target_mean: float | None
    target_std: float | None
    rows: int
    not_finite: int


@dataclass(frozen=True)
class Evaluated:
    """A model on fixed samples of both parts, in evaluation; the training part in training mode as well.

    Attributes:
        step: after so many steps.
        train_loss, train_metric: on training samples.
        validation_loss, validation_metric: on held-out ones. The metric is accuracy, or R² of a regression.
        batch_loss: on the training samples in training mode.
    """

    step: int
    train_loss: float
    train_metric: float
    validation_loss: float
    validation_metric: float
    batch_loss: float


@dataclass(frozen=True, eq=False)
class RunFacts:
    """A short training, watched.

    Attributes:
        steps: that were done.
        losses: of each batch before its step.
        gradient_norms: of each step, over all parameters, before clipping.
        diverged: the step at which loss or gradients were no longer finite; None.
        observed: pairs of step and `Observation` of one fixed training batch, the first at step 0.
        updates: of each weight of a layer by its name, (step, ‖Δw‖ / ‖w‖) from true differences.
        decay: of each layer by its name, ‖decay · w‖ / ‖gradient‖ at the same steps; empty without decay.
        evaluated: over the training, at about ten steps; the first before it.
        baseline: the metric of the best constant answer.
        baseline_loss: the training loss of the best constant answer; infinite where the loss takes none.
        norms: `NormState` after the training, on the fixed batch.
    """

    steps: int
    losses: tuple[float, ...]
    gradient_norms: tuple[float, ...]
    diverged: int | None
    observed: tuple[tuple[int, Observation], ...]
    updates: dict[str, tuple[tuple[int, float], ...]]
    decay: dict[str, tuple[tuple[int, float], ...]]
    evaluated: tuple[Evaluated, ...]
    baseline: float
    baseline_loss: float
    norms: tuple[NormState, ...]


@dataclass(frozen=True, eq=False)
class Facts:
    """All that is known.

    Attributes:
        subject: what was given.
        graph: of one forward pass; None where there was no input, or the model cannot be traced.
        untraced: why there is no graph; "" where there is.
        norms: of the model, as it was given.
        start: the batch in training mode, at the weights as given; None without inputs and targets.
        evaluation: the same in evaluation.
        data: None without.
        run: None without.
        uniform_loss: cross-entropy of equal probabilities, ln C; None for regression.
        draws: how far trainings from other initial draws come, by loss or by metric, whichever is more; empty without
            a builder.
        scoring: what the loss does with the outputs of the batch.
        longer: the training again, four times as long and not watched, where `run` has got little done.
        mixes: the answer for a sample depends on the others of its batch.
        silent: recurrent layers, embeddings and attentions that are to train and get no gradient from the batch.
    """

    subject: Subject
    graph: Graph | None
    untraced: str
    norms: tuple[NormState, ...]
    start: Observation | None
    evaluation: Observation | None
    data: DataFacts | None
    run: RunFacts | None
    uniform_loss: float | None
    draws: tuple[float, ...] = ()
    scoring: Scoring | None = None
    longer: RunFacts | None = None
    mixes: bool = False
    silent: tuple[str, ...] = ()

    @property
    def have(self) -> frozenset[str]:
        """What rules can ask for in `needs`."""
        subject = self.subject
        there = {
            "graph": self.graph is not None,
            "batch": self.start is not None,
            "real": self.start is not None and not subject.made_up,
            "optimizer": subject.optimizer is not None or subject.setup is not None,
            "inputs": self.data is not None,
            "data": self.data is not None and subject.data is not None,
            "run": self.run is not None,
        }
        return frozenset(name for name, known in there.items() if known)
