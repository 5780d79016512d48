"""What a monitor writes down: a step, and a batch seen in both modes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LayerRecord:
    """A linear layer or convolution at one step, and the activation that its outputs reach next.

    A number that was not measured, or is not finite, is None.

    Attributes:
        name: dotted, in the model.
        kind: the class.
        activation: name of torch's function; "" where none follows, or none was seen.
        mean, std: of what the activation gives; of the layer's outputs where none follows.
        percentiles: 5, 50 and 95 % of what the activation receives; of the layer's outputs where none follows.
        saturation: share of entries at which the slope of a bounded activation is below .05.
        dead: share of units through which no gradient passed for any sample of the window so far.
        weight_rms: of the trained weight before the step; under a parametrization of its last original.
        gradient_rms: of its gradient as the optimizer got it: accumulated, unscaled, clipped.
        update_ratio: ‖Δw‖ / ‖w‖ of what the step really did, weight decay included.
        learning_rate: of the weight's parameter group.
        effective_learning_rate: lr / ‖w‖² where a norm follows directly, so that the scale of w changes nothing; van
            Laarhoven, arXiv 1706.05350. It is the rate at which the direction of w moves under plain SGD.
        mean_shift: RMS over channels of |Δμ| / σ between the last two windows, of what the activation receives; given
            at steps that end a window.
        spread_shift: RMS over channels of ln(σ / σ before).
        largest_shift: the largest |Δμ| / σ of a channel.
        finite: whether activations, gradient and update are.
    """

    name: str
    kind: str
    activation: str = ""
    mean: float | None = None
    std: float | None = None
    percentiles: tuple[float | None, float | None, float | None] = (None, None, None)
    saturation: float | None = None
    dead: float | None = None
    weight_rms: float | None = None
    gradient_rms: float | None = None
    update_ratio: float | None = None
    learning_rate: float | None = None
    effective_learning_rate: float | None = None
    mean_shift: float | None = None
    spread_shift: float | None = None
    largest_shift: float | None = None
    finite: bool = True


@dataclass(frozen=True)
class NormRecord:
    """A batch normalization with running statistics at one step.

    Attributes:
        name: dotted, in the model.
        kind: the class.
        training: whether it normalizes by the batch.
        mean_gap: RMS over channels of |batch mean − running mean| / running σ.
        spread_gap: RMS over channels of ln(batch σ / running σ).
        finite: whether both are; a gap that is not is None.
    """

    name: str
    kind: str
    training: bool
    mean_gap: float | None
    spread_gap: float | None
    finite: bool = True


@dataclass(frozen=True)
class StepRecord:
    """A step of the optimizer.

    Attributes:
        step: counted from 0, without those that a `GradScaler` skipped.
        training: the mode of the model in the pass that was watched.
        layers: in the order in which they were called; those that were not called are last.
        norms: with running statistics, in the order of calls.
        gradient_slope: least-squares slope of log₁₀ gradient RMS over the layers in the order of calls, in decades a
            layer; positive where gradients are smaller at the input. None with fewer than three gradients.
        clipping: ‖gradient at the step‖ / ‖gradient of the backward pass‖ over the watched weights; 1 without clipping.
            None under DDP, which averages in between, and where no backward pass was seen.
        loss_scale: of the gradient scaler; None without.
        skipped: whether the update was left out because of an overflow, which is normal early under a scaler.
        process: rank of the process that measured; 0 without `torch.distributed`.
        seconds: what the monitor itself took, without its sinks.
    """

    step: int
    training: bool
    layers: tuple[LayerRecord, ...]
    norms: tuple[NormRecord, ...]
    gradient_slope: float | None
    clipping: float | None
    loss_scale: float | None
    skipped: bool
    process: int
    seconds: float

    def __getitem__(self, name: str) -> LayerRecord:
        """The layer of a name."""
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise KeyError(name)


@dataclass(frozen=True)
class ModesRecord:
    """One batch in training and in evaluation, without any update.

    Attributes:
        step: after so many steps.
        difference: ‖y_train − y_eval‖ / ‖y_eval − its mean‖ over all outputs; None where it is not finite.
        of_norms: the same with the layers with running statistics alone in training.
        of_rest: the same with everything else in training, which is dropout and its relatives.
        training_loss, evaluation_loss: None without a loss.
    """

    step: int
    difference: float | None
    of_norms: float | None
    of_rest: float | None
    training_loss: float | None
    evaluation_loss: float | None


Record = StepRecord | ModesRecord
