"""The networks of a question, and how their weights are drawn."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from normwise.compare.variant import SCHEMES
from normwise.errors import ArgumentError, explain, unknown_name

NetworkKind = Literal["mlp", "cnn", "model"]

ACTIVATIONS = ("relu", "leaky_relu", "gelu", "silu", "tanh", "sigmoid")
WIDEST, DEEPEST = 16_384, 512
"""Far beyond what a comparison on one machine can train; a slip of the finger is refused instead of started."""

_FIELDS = {
    "mlp": {"widths", "single_logit"},
    "cnn": {"channels", "head", "residual", "reduce"},
    "model": {"model", "model_args", "fingerprint"},
}


class Frozen(BaseModel):
    """Values that never change once they are validated; unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def known_activation(value: str) -> str:
    """The name of an activation, or an error that names the nearest one."""
    if value not in ACTIVATIONS:
        raise unknown_name("compare", "activation", value, ACTIVATIONS)
    return value


class Network(Frozen):
    """The network that every variant shares; written out, it shows the fields of its kind alone.

    Attributes:
        kind: "mlp", "cnn", or "model" for a network of the user's.
        activation: relu, leaky_relu, gelu, silu, tanh or sigmoid.
        widths: of an mlp, the hidden widths.
        single_logit: of an mlp with two classes, one output z instead of two; it stands for the logits (0, z).
        channels: of a cnn, the channels of its convolutional blocks.
        head: of a cnn, hidden widths between the convolutions and the output.
        residual: of a cnn, add each convolutional block's input to its output where shapes allow.
        reduce: of a cnn, how it goes from positions to features, "average" or "flatten".
        model: of a model, where it is: "file.py:name" or "pkg.mod:name".
        model_args: of a model, further arguments of its builder, as pairs of name and text.
        fingerprint: of a model, a hash of its source, filled in when it is loaded.
    """

    kind: NetworkKind
    widths: tuple[int, ...] = (64, 64, 64, 64)
    channels: tuple[int, ...] = (16, 32)
    head: tuple[int, ...] = (32,)
    activation: str = "relu"
    residual: bool = False
    reduce: Literal["average", "flatten"] = "average"
    single_logit: bool = False
    model: str = ""
    model_args: tuple[tuple[str, str], ...] = ()
    fingerprint: str = ""

    @field_validator("widths", "channels", "head")
    @classmethod
    def _sizes(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if not all(1 <= width <= WIDEST for width in value) or len(value) > DEEPEST:
            raise ValueError(f"at most {DEEPEST:,} layers, each of 1 to {WIDEST:,} units")
        return value

    @model_validator(mode="after")
    def _own_fields(self) -> Network:
        foreign = sorted((self.model_fields_set - {"kind", "activation"}) & self._foreign())
        if foreign:
            raise ValueError(f"a {self.kind} has no {' and no '.join(foreign)}")
        return self

    @model_serializer(mode="wrap")
    def _shown(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # What a network has no use for must not tell two questions apart.
        return {name: value for name, value in write(self).items() if name not in self._foreign()}

    def _foreign(self) -> set[str]:
        return {name for kind, names in _FIELDS.items() if kind != self.kind for name in names}

    _known_activation = field_validator("activation")(known_activation)

    def at_depth(self, depth: int | None) -> Network:
        """The same network with `depth` hidden layers (or convolutional blocks), the last width repeated."""
        if depth is None:
            return self
        if self.kind == "model":
            raise ArgumentError(
                explain("compare", "`depths` needs a network of ours", self.model, "vary an argument of it")
            )
        field = "widths" if self.kind == "mlp" else "channels"
        sizes = getattr(self, field) or (64,)
        return self.model_copy(update={field: (sizes + (sizes[-1],) * depth)[:depth]})


class Initialization(Frozen):
    """A scheme and a factor on its standard deviation."""

    scheme: str = "he"
    scale: float = Field(default=1.0, gt=0.0, allow_inf_nan=False)

    @field_validator("scheme")
    @classmethod
    def _known_scheme(cls, value: str) -> str:
        if value not in SCHEMES:
            raise unknown_name("compare", "initialization", value, SCHEMES)
        return value

    @property
    def name(self) -> str:
        """The scheme and its factor.

        >>> Initialization(scheme="he", scale=0.1).name
        'he ×0.1'
        """
        return f"{self.scheme} ×{self.scale:g}"
