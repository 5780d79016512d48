"""Normalizations by name: what each is, where it fits and what its number means. Nothing here imports torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from normwise.errors import unknown_name


@dataclass(frozen=True)
class Number:
    """What stands behind the colon of a name, as in ``group:4``.

    Attributes:
        keywords: arguments of the layer, each with the factor that the number is taken times.
        noun: what it counts.
        of: what it is a part of, as " a ghost".
        default: where none is given; None leaves it to the layer.
        divides: the number of channels must be divisible by it.
        by_width: where none is given it follows from the number of channels.
    """

    keywords: Mapping[str, int]
    noun: str
    of: str = ""
    default: int | None = None
    divides: bool = False
    by_width: bool = False

    def counted(self, value: int) -> str:
        """So many of what it counts.

        >>> Number({}, "sample", " a ghost").counted(16)
        '16 samples a ghost'
        """
        return f"{value:,} {self.noun}{'' if value == 1 else 's'}{self.of}"


@dataclass(frozen=True)
class Kind:
    """A normalization.

    Attributes:
        name: as variants have it.
        title: as sentences have it; "" for none.
        features: the layer of `normwise.layers` for (N, C); "" where there is none.
        images: the same for (N, C, H, W).
        weights: the function of `normwise.layers` that puts it on a layer's weight, where it lies there.
        width: the layer's argument for the number of channels; "" is the first one, None takes none.
        options: further arguments.
        number: what a number behind the name is, if it takes one.
        cancels_bias: each channel's mean is subtracted, and with it any bias just before.
        is_activation: it ends in a nonlinearity of its own, and no activation follows.
        across_samples: it reads the batch in training and running statistics afterwards.
        start: the function of `normwise.layers` that starts it from a batch of data.
        positions: the fewest that it takes of an image.
        inputs: the fewest incoming weights of a unit.
        compared: it is compared where nobody names any.
        keras: Keras has such a layer.
    """

    name: str
    title: str
    features: str = ""
    images: str = ""
    weights: str = ""
    width: str | None = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    number: Number | None = None
    cancels_bias: bool = False
    is_activation: bool = False
    across_samples: bool = False
    start: str = ""
    positions: int = 1
    inputs: int = 1
    compared: bool = False
    keras: bool = False

    @property
    def fits_features(self) -> bool:
        """Whether a network of rows can have it."""
        return bool(self.features) or not self.images

    @property
    def fits_images(self) -> bool:
        """Whether a network of images can have it."""
        return bool(self.images) or not self.features

    @property
    def has_position(self) -> bool:
        """Whether it can stand before or after the activation."""
        return bool(self.features or self.images) and not self.is_activation

    @property
    def summary(self) -> str:
        """What it is and what it goes with, in a line.

        >>> KINDS["ghost"].summary
        'Ghost Batch Normalization; ghost:4 for 4 samples a ghost'
        >>> KINDS["evonorm_b0"].summary
        'EvoNorm-B0; images only; holds its own activation'
        """
        parts = [self.title or "the plain network"]
        if not self.fits_features:
            parts.append("images only")
        if not self.fits_images:
            parts.append("rows of features only")
        if self.weights:
            parts.append("in the weights of all layers but the last")
        if self.is_activation:
            parts.append("holds its own activation")
        if self.number is not None:
            parts.append(f"{self.name}:4 for {self.number.counted(4)}")
        return "; ".join(parts)


_GROUPS = Number({"num_groups": 1}, "group", divides=True, by_width=True)

_ROWS = (
    Kind("none", "", compared=True, keras=True),
    Kind(
        "batch",
        "Batch Normalization",
        "BatchNorm1d",
        "BatchNorm2d",
        cancels_bias=True,
        across_samples=True,
        compared=True,
        keras=True,
    ),
    Kind("layer", "Layer Normalization", "LayerNorm", "LayerNorm2d", compared=True, keras=True),
    Kind(
        "group",
        "Group Normalization",
        "GroupNorm",
        "GroupNorm",
        width="num_channels",
        number=_GROUPS,
        compared=True,
        keras=True,
    ),
    Kind(
        "instance",
        "Instance Normalization",
        images="InstanceNorm2d",
        options={"affine": True},
        cancels_bias=True,
        positions=2,
        compared=True,
        keras=True,
    ),
    Kind("rms", "RMS Normalization", "RMSNorm", "RMSNorm2d", compared=True, keras=True),
    Kind(
        "weight",
        "Weight Normalization",
        weights="weight_norm",
        start="initialize_weight_norm_",
        compared=True,
    ),
    # The paper's schedule of 5,000, 25,000 and 40,000 steps in proportion; its momentum of 0.01 is for such lengths.
    Kind(
        "batch_renorm",
        "Batch Renormalization",
        "BatchRenorm1d",
        "BatchRenorm2d",
        options={"momentum": 0.1},
        number=Number(
            {"plain_steps": 1, "d_max_step": 5, "r_max_step": 8},
            "step",
            " of Batch Normalization first",
            default=20,
        ),
        cancels_bias=True,
        across_samples=True,
    ),
    Kind(
        "ghost",
        "Ghost Batch Normalization",
        "GhostBatchNorm1d",
        "GhostBatchNorm2d",
        number=Number({"ghost_size": 1}, "sample", " a ghost"),
        cancels_bias=True,
        across_samples=True,
    ),
    Kind(
        "mean_only",
        "Mean-only Batch Normalization",
        "MeanOnlyBatchNorm1d",
        "MeanOnlyBatchNorm2d",
        cancels_bias=True,
        across_samples=True,
    ),
    # The mean over a layer's channels, a part of the mixture, leaves a bias what it is.
    Kind(
        "switchable", "Switchable Normalization", "SwitchableNorm1d", "SwitchableNorm2d", across_samples=True
    ),
    Kind(
        "decorrelated",
        "Decorrelated Batch Normalization",
        "DecorrelatedBatchNorm1d",
        "DecorrelatedBatchNorm2d",
        number=Number({"num_groups": 1}, "group", divides=True),
        cancels_bias=True,
        across_samples=True,
    ),
    Kind(
        "filter_response",
        "Filter Response Normalization",
        images="FilterResponseNorm2d",
        is_activation=True,
        positions=2,
    ),
    Kind("evonorm_b0", "EvoNorm-B0", images="EvoNorm2dB0", is_activation=True, across_samples=True),
    Kind(
        "evonorm_s0",
        "EvoNorm-S0",
        images="EvoNorm2dS0",
        number=Number({"groups": 1}, "group", divides=True, by_width=True),
        is_activation=True,
    ),
    Kind("global_response", "Global Response Normalization", images="GlobalResponseNorm2d"),
    # Krizhevsky, Sutskever & Hinton's constants; their alpha is not divided by the size.
    Kind(
        "local_response",
        "Local Response Normalization",
        images="LocalResponseNorm",
        width=None,
        options={"alpha": 5e-4, "k": 2.0},
        number=Number({"size": 1}, "channel", default=5),
    ),
    Kind("dynamic_tanh", "Dynamic Tanh", "DynamicTanh", "DynamicTanh2d"),
    Kind("scale", "Scale Normalization", "ScaleNorm"),
    Kind("spectral", "Spectral Normalization", weights="spectral_norm", keras=True),
    Kind(
        "standardized",
        "Weight Standardization",
        weights="weight_standardization",
        options={"scaled": True},
        inputs=2,
    ),
    Kind("centred", "Weight Centring", weights="centred_weight", inputs=2),
    Kind("orthogonal", "Orthogonal Weights", weights="orthogonal"),
)

KINDS: dict[str, Kind] = {kind.name: kind for kind in _ROWS}
"""Every normalization by name."""

COMPARED: tuple[str, ...] = tuple(kind.name for kind in _ROWS if kind.compared)
"""The names that are compared where nobody names any."""

OWN = "own"
"""What a comparison calls a user's model with whatever it normalizes by itself; no layer goes by that name."""

OWN_KIND = Kind(OWN, "the model as it is")
"""What is known of it."""

_BY_LAYER = {layer: kind for kind in _ROWS for layer in (kind.features, kind.images) if layer}


def find(spec: str, who: str) -> Kind:
    """The normalization of a name, with or without its number.

    Raises:
        UnknownNameError: there is none of that name.

    >>> find("group:4", "mlp").title
    'Group Normalization'
    """
    name = spec.partition(":")[0]
    if name not in KINDS:
        raise unknown_name(who, "normalization", name, KINDS)
    return KINDS[name]


def number_of(spec: str) -> int | None:
    """The number behind a name; None where there is none.

    >>> number_of("ghost:16"), number_of("ghost")
    (16, None)
    """
    _, colon, text = spec.partition(":")
    return int(text) if colon else None


def problem_of(spec: str) -> str:
    """What must hold of a number behind a known name and does not; "" where all is well.

    >>> problem_of("ghost:0")
    'the number behind ghost must count samples a ghost, at least 1, as in ghost:4'
    >>> problem_of("batch:2")
    'batch takes no number'
    """
    name, colon, text = spec.partition(":")
    number = KINDS[name].number
    if not colon:
        return ""
    if number is None:
        return f"{name} takes no number"
    if text.isdecimal() and int(text) >= 1:
        return ""
    return f"the number behind {name} must count {number.noun}s{number.of}, at least 1, as in {name}:4"


def kind_of_layer(layer: str) -> Kind | None:
    """The normalization that a class of `normwise.layers` does, by the class's name.

    >>> kind_of_layer("GhostBatchNorm2d").name
    'ghost'
    """
    return _BY_LAYER.get(layer)
