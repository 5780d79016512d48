"""The normalizations that are converted, by name, and the class that stands for each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from normwise import layers
from normwise.errors import ArgumentError, explain, unknown_name
from normwise.layers._sharing import shared_by
from normwise.layers.sync_batch_norm import AllReduce
from normwise.models.norm import Norm
from normwise.norms import KINDS

TITLES: dict[str, str] = {
    name: KINDS[name].title
    for name in ("batch", "batch_renorm", "ghost", "group", "instance", "layer", "rms", "dynamic_tanh")
} | {
    "sync": "Batch Normalization over all processes",
    "frozen": "Batch Normalization with frozen statistics",
    "masked": "Batch Normalization that takes masks",
}
"""Of each name its title; `masked` is no kind of its own, but normwise's class in the place of torch's."""

BATCH: frozenset[str] = frozenset({"batch", "masked", "sync", "frozen", "ghost", "batch_renorm"})
"""Kinds with the same state and the same evaluation."""

WHOLE: frozenset[str] = frozenset({"torch", "normwise"})
"""Not kinds, but whose classes stand in a model: `accelerate` and `decelerate` convert between these."""

TRAILING = 0
"""In the place of a rank: the statistics go over the input's last axes."""

_PREFIXES = {
    "batch": "BatchNorm",
    "batch_renorm": "BatchRenorm",
    "ghost": "GhostBatchNorm",
    "instance": "InstanceNorm",
    "layer": "LayerNorm",
    "rms": "RMSNorm",
    "dynamic_tanh": "DynamicTanh",
}
_FUSABLE = ("batch", "group", "instance", "layer", "rms")


def class_of(kind: str, rank: int | None, *, fused: bool = False) -> type[nn.Module] | None:
    """The class of `normwise.layers`; None where there is none.

    >>> class_of("rms", 2, fused=True).__name__, class_of("ghost", 2, fused=True)
    ('RMSNormAct2d', None)
    """
    if kind == "sync" and rank is None:
        return None if fused else layers.SyncBatchNorm
    family = "batch" if kind in ("masked", "sync", "frozen") else kind
    if fused and family not in _FUSABLE:
        return None
    name = "GroupNorm" if family == "group" else _PREFIXES[family]
    name = name.replace("Norm", "NormAct") if fused else name
    if family != "group" and rank != TRAILING:
        name = f"{name}{rank}d"
    found: type[nn.Module] | None = getattr(layers, name, None)
    return found


def _table() -> dict[type[nn.Module], tuple[str, int | None]]:
    found: dict[type[nn.Module], tuple[str, int | None]] = {
        nn.SyncBatchNorm: ("sync", None),
        layers.SyncBatchNorm: ("sync", None),
    }
    for kind in (*_PREFIXES, "group"):
        for fused in (False, True):
            for rank in (None,) if kind == "group" else (TRAILING, 1, 2, 3):
                ours = class_of(kind, rank, fused=fused)
                if ours is not None:
                    found[ours] = (kind, rank)
                    theirs = None if fused else getattr(nn, ours.__name__, None)
                    if theirs is not None:
                        found[theirs] = (kind, rank)
    return found


_KNOWN = _table()


def kind_of(module: nn.Module) -> tuple[str, int | None] | None:
    """Kind and rank of an exact class, and of what it is set to do; None where it is not known.

    >>> kind_of(nn.LayerNorm(4)), kind_of(nn.BatchNorm2d(4)), kind_of(layers.BatchNorm2d(4).freeze_statistics())
    (('layer', 0), ('batch', 2), ('frozen', 2))
    """
    found = _KNOWN.get(type(module))
    if found is None or found[0] != "batch":
        return found
    if isinstance(shared_by(module), AllReduce):
        return "sync", found[1]
    return ("frozen", found[1]) if getattr(module, "statistics_frozen", False) else found


@dataclass(frozen=True)
class Target:
    """What layers are to become: a kind, and a number where it has one that was given."""

    kind: str
    number: int | None = None

    def numbers(self, channels: int) -> dict[str, Any]:
        """Arguments that follow from the number; of group normalization always one that divides the channels."""
        if self.kind == "group":
            return {"num_groups": self.groups(channels)}
        asked = KINDS[self.kind].number if self.kind in KINDS else None
        if asked is None or self.number is None:
            return {}
        return {key: factor * self.number for key, factor in asked.keywords.items()}

    def groups(self, channels: int) -> int:
        """The number of groups: the largest that divides the channels and is not above what was asked for."""
        if self.number is not None:
            return max(n for n in range(1, min(self.number, channels) + 1) if channels % n == 0)
        chosen: Any = Norm.parse("group", "convert").for_images(channels, 2, 2)
        count: int = chosen.num_groups
        return count


def parse_target(text: str) -> Target:
    """Read ``"group"``, ``"group:8"``, ``"frozen"``.

    Raises:
        UnknownNameError, ArgumentError: there is no such normalization here, or its number is wrong.
    """
    name = _checked("target", text).partition(":")[0]
    if name in WHOLE or name not in KINDS:
        if ":" in text:
            raise ArgumentError(explain("convert", f"{name} takes no number", repr(text), f"write {name!r}"))
        return Target(name)
    return Target(name, Norm.parse(text, "convert").number)


def parse_source(given: str | Sequence[str]) -> tuple[str, ...]:
    """Read one name or several.

    Raises:
        UnknownNameError, ArgumentError: there is no such normalization here, or a number came with it.
    """
    # What is neither a name nor several of them is refused below, with its class.
    several = isinstance(given, Sequence | set | frozenset) and not isinstance(given, str)
    names: tuple[str, ...] = tuple(given) if several else (given,)  # type: ignore[assignment]
    for name in names:
        if ":" in _checked("source", name) or name == "masked":
            hint = "batch" if name == "masked" else name.partition(":")[0]
            must = "`source` must be the name of a normalization without a number"
            raise ArgumentError(explain("convert", must, repr(name), f"write {hint!r}"))
    if not names:
        raise ArgumentError(explain("convert", "`source` must name a normalization", "none", "as in 'batch'"))
    return names


def _checked(what: str, text: Any) -> str:
    if not isinstance(text, str):
        must = f"`{what}` must be the name of a normalization"
        got = f"the class {text.__name__}" if isinstance(text, type) else f"a {type(text).__name__}"
        raise ArgumentError(explain("convert", must, got, "as in 'batch'"))
    name = text.partition(":")[0]
    if name not in TITLES and name not in WHOLE:
        raise unknown_name("convert", "normalization", name, [*TITLES, *WHOLE])
    return text
