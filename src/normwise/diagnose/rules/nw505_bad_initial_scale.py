"""Weights drawn far too large or far too small."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from torch import Tensor, nn

from normwise.diagnose.facts import Facts
from normwise.diagnose.outcome import falls_short, layer_figure
from normwise.diagnose.remedies import initialise
from normwise.diagnose.rule import Found, Rule
from normwise.diagnose.subject import Setup
from normwise.monitor.observe import LayerState, Observation
from normwise.results.diagnosis import Evidence, Finding

_SMALL, _LARGE = 0.15, 5.0
"""What a layer does to the RMS of its input: 1.4 after He, 1 after Xavier, 0.58 after torch's own draw."""

_WHOLE = 30.0
"""What all hidden layers together do to it."""

_LOSS, _SURE_LOSS = 3.0, 10.0
"""The first loss, in units of that of equal probabilities; the second whatever comes of the training."""

_ODD = ("tanh", "sigmoid", "softsign", "hardtanh")
"""Activations for which weights are drawn as Glorot and Bengio do."""

_LOGITS = 3.0
"""Standard deviation of the first outputs: where they are small, a large loss does not come from the weights."""


_RECURRENT = 5.0
"""Gain of the weights from state to state: RMS · √width, 0.58 after torch's own draw, 1 of an orthogonal matrix."""

_SHUT = 10.0
"""Size of a recurrent bias at which a gate's sigmoid is off by less than 10⁻⁴ from 0 or 1."""

_EMBEDDED = 10.0
"""RMS of an embedding: 1 after torch's own draw."""


def _check(facts: Facts) -> Iterator[Found]:
    yield from _of_weights(facts)
    if facts.start is not None:
        yield from _of_tables_and_states(facts)


def _of_tables_and_states(facts: Facts) -> Iterator[Found]:
    """Embeddings and recurrent layers, as they were drawn."""
    for name, module in facts.subject.model.named_modules():
        odd = _odd(module)
        if odd is None:
            continue
        what, size, wanted, remedy = odd
        yield Found(
            name,
            f"the {what} of `{name}` are too large: {size:.3g}, where {wanted} is usual",
            0.9,
            (Evidence(f"size of the {what}", size, wanted),),
            remedy=remedy,
        )


def _odd(module: nn.Module) -> tuple[str, float, str, str] | None:
    """What is far too large: its name, its size, what is usual, what to do."""
    if isinstance(module, nn.Embedding | nn.EmbeddingBag):
        size = _rms(module.weight)
        remedy = "draw them with a standard deviation of 1 or less"
        return ("vectors", size, "1 or less", remedy) if size > _EMBEDDED else None
    if not isinstance(module, nn.RNNBase | nn.RNNCellBase):
        return None
    named = dict(module.named_parameters(recurse=False))
    gains = [_rms(p) * math.sqrt(p.shape[-1]) for key, p in named.items() if key.startswith("weight_hh")]
    biases = [_rms(p) for key, p in named.items() if key.startswith("bias")]
    if max(gains, default=0.0) > _RECURRENT:
        remedy = "draw them orthogonal: nn.init.orthogonal_"
        return "weights from state to state", max(gains), "a gain of about 1", remedy
    if max(biases, default=0.0) > _SHUT:
        return "biases", max(biases), "about 0, or 1 of a forget gate", "begin with biases near 0"
    return None


def _rms(values: Tensor) -> float:
    return float(values.detach().float().square().mean().sqrt())


def _of_weights(facts: Facts) -> Iterator[Found]:
    start, run = facts.start, facts.run
    if start is None:
        return
    short = run is None or falls_short(run)
    gains = [(layer, gain) for layer in start.hidden if (gain := _gain(layer)) is not None]
    off = [(layer, gain) for layer, gain in gains if gain > _LARGE or (short and gain < _SMALL)]
    whole = _through(start, gains)
    if not off and (whole > _WHOLE or (short and whole < 1 / _WHOLE)):
        off = [(layer, gain) for layer, gain in gains if (gain < 1) == (whole < 1)]
    if off:
        yield _found(start, off, whole, 0.93 if run is not None else 0.75)
    elif (
        facts.uniform_loss
        and not facts.subject.made_up
        and start.output_std > _LOGITS
        and (start.loss > (_LOSS if short else _SURE_LOSS) * facts.uniform_loss)
    ):
        last = start.layers[-1].name if start.layers else ""
        yield Found(
            last,
            f"the first loss is {start.loss:.3g}; a network that knows nothing should begin near ln C = "
            f"{facts.uniform_loss:.3g}",
            0.8,
            (Evidence("first loss", start.loss, f"about {facts.uniform_loss:.3g}"),),
            remedy="draw the last layer smaller, so that all classes begin alike",
            code_lines=(f"model.{last}.weight.data *= 0.1",) if last else (),
            applicability="changes training",
        )


def _found(start: Observation, off: list[tuple[LayerState, float]], whole: float, sure: float) -> Found:
    worst, gain = max(off, key=lambda each: abs(math.log(each[1])))
    size = "small" if gain < 1 else "large"
    spreads = [layer.pre_std for layer in start.hidden]
    return Found(
        worst.name,
        f"the weights of `{worst.name}` are too {size}: what it gives has {gain:.2g} times the size of what comes "
        f"in; over all layers that makes {whole:.2g}",
        sure,
        (
            Evidence("spread of outputs over RMS of inputs", gain, f"{_SMALL:g} to {_LARGE:g}"),
            Evidence("the same over all hidden layers", whole, f"{1 / _WHOLE:g} to {_WHOLE:g}"),
            Evidence("RMS of the weight", worst.weight_rms, f"about {math.sqrt(2 / worst.fan_in):.2g} (He)"),
        ),
        (layer_figure("standard deviation before each activation", start.hidden, spreads),),
        remedy="draw the weights with the variance that the activation asks for: He for ReLU, Xavier for tanh",
        code_lines=(f"nw.initialize_(model, {_scheme(worst)!r}, seed=0)",),
        applicability="changes training",
        also=tuple(layer.name for layer, _ in off if layer.name != worst.name),
    )


def _scheme(layer: LayerState) -> str:
    return "xavier" if layer.activation in _ODD else "he"


def _through(start: Observation, gains: Sequence[tuple[LayerState, float]]) -> float:
    """The spread before the last activation over the RMS of the first input; 1 where a norm takes the size away."""
    first, last = start.hidden[:1], start.hidden[-1:]
    if len(gains) < len(start.hidden) or not first or not last[0].pre_std:
        return 1.0
    return last[0].pre_std / first[0].input_rms


def _gain(layer: LayerState) -> float | None:
    """Spread of a layer's outputs over the RMS of its inputs; None before a norm, and for weights that are all "
    "alike."""
    alike = layer.weight_spread <= 1e-6 * layer.weight_rms or not layer.weight_rms
    if alike or not layer.input_rms or not layer.output_std:
        return None
    gain = layer.output_std / layer.input_rms
    normalized = abs(layer.pre_std / layer.output_std - 1) > 0.1
    return None if normalized or not math.isfinite(gain) or gain <= 0 else gain


def _fix(setup: Setup, finding: Finding) -> Setup:
    return initialise(setup, "xavier" if "xavier" in finding.code_lines[0] else "he")


RULE = Rule(
    code="NW505",
    name="bad-initial-scale",
    summary="Initial weights are of a size at which signals die out or blow up.",
    why=(
        "The scale of the weights multiplies the signal in each layer on its way to the output, and the gradient on "
        "its way back. Off by a factor of f, after L layers both are off by f^L."
    ),
    bad="nn.init.normal_(layer.weight, std=0.001)",
    good="nn.init.kaiming_normal_(layer.weight, nonlinearity='relu')",
    check=_check,
    needs=frozenset({"batch"}),
    explains=frozenset({"NW501", "NW502", "NW503", "NW504", "NW506", "NW507", "NW508", "NW509", "NW512"}),
    fix=_fix,
    source="He et al. 2015; Glorot & Bengio 2010; Mishkin & Matas 2016",
)
