"""Two layers that are one linear map."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import nn

from normwise.diagnose.facts import Facts
from normwise.diagnose.rule import Found, Rule
from normwise.diagnose.structure import Flow, Step, flow, holds_activation
from normwise.diagnose.subject import Setup
from normwise.results.diagnosis import Finding

_BETWEEN = ("norm", "reshape", "dropout", "mean")
_POOLS = (
    "max_pool2d_with_indices",
    "max_pool1d_with_indices",
    "max_pool3d_with_indices",
    "adaptive_max_pool2d",
)


def _check(facts: Facts) -> Iterator[Found]:
    found = flow(facts)
    if found is None:
        return
    layers = [step for step in found.steps if step.kind == "linear" and step.module is not None]
    hits = [(layer, reader) for layer in layers if (reader := _next_layer(found, layer)) is not None]
    if not hits:
        return
    layer, reader = hits[0]
    yield Found(
        layer.name,
        f"nothing but linear maps stand between `{layer.name}` and `{reader.name}`: the two are one layer",
        0.8 if len(hits) == 1 or len(hits) == len(layers) - 1 else 0.7,
        remedy=f"put an activation behind `{layer.name}`, or leave one of the two layers out",
        code_lines=tuple(f"# after {each.name}: x = F.relu(x)" for each, _ in hits),
        applicability="changes training",
        also=tuple(each.name for each, _ in hits[1:]),
    )


def _next_layer(found: Flow, layer: Step) -> Step | None:
    """The layer that makes one linear map with this one, unless two are there for a reason."""
    between, reader = found.after(layer, _BETWEEN)
    # A maximum is no linear map, but where it is all there is, an activation was mostly meant.
    if reader is not None and reader.kind == "other" and reader.ops and set(reader.ops) <= set(_POOLS):
        further, reader = found.after(reader, _BETWEEN)
        between = (*between, *further)
    if reader is None or reader.kind != "linear" or reader.module is None:
        return None
    if any(step.module is not None and holds_activation(step.module) for step in between):
        return None
    # A sum over the members of a set: what is learned of a member ends with a linear layer.
    if isinstance(layer.module, nn.Linear) and any(step.kind == "mean" for step in between):
        return None
    return None if _deliberate(layer.module, reader.module) else reader


def _deliberate(layer: Any, reader: Any) -> bool:
    """Whether a pair of layers is cheaper than one, or does what one cannot."""
    if isinstance(layer, nn.Linear):
        if not isinstance(reader, nn.Linear) or layer.out_features != reader.in_features:
            return True
        return bool(layer.out_features < min(layer.in_features, reader.out_features))
    if _separable(layer) or _rearranges(layer) or getattr(reader, "transposed", False):
        return True
    pointwise = max(layer.kernel_size) == 1
    if isinstance(reader, nn.Linear):
        return bool(pointwise and layer.out_channels < layer.in_channels)
    narrow = layer.out_channels < min(layer.in_channels, reader.out_channels)
    # MobileNet's linear bottleneck may be as wide as the depthwise convolution before it.
    bottleneck = pointwise and layer.out_channels < reader.out_channels
    return bool(narrow or bottleneck or _separable(reader) or layer.out_channels != reader.in_channels)


def _separable(layer: Any) -> bool:
    """Depthwise or grouped, or along one axis: a factor of a larger convolution."""
    return bool(layer.groups > 1 or len(set(layer.kernel_size)) > 1)


def _rearranges(layer: Any) -> bool:
    """Patches to channels, or channels to patches: the place of a reshape."""
    patches = tuple(layer.kernel_size) == tuple(layer.stride) and max(layer.stride) > 1
    return bool(patches or layer.transposed)


def _fix(setup: Setup, finding: Finding) -> Setup:
    """With a ReLU behind each layer, or behind the norm that comes next."""
    modules = [(name, m) for name, m in setup.model.named_modules() if next(m.children(), None) is None]
    names = [name for name, _ in modules]
    for name in (finding.layer, *finding.also):
        after = names.index(name) + 1
        normed = after < len(names) and "Norm" in type(modules[after][1]).__name__
        place = names[after] if normed else name
        path, _, key = place.rpartition(".")
        parent = setup.model.get_submodule(path)
        parent._modules[key] = nn.Sequential(setup.model.get_submodule(place), nn.ReLU())
    return setup


RULE = Rule(
    code="NW108",
    name="missing-activation",
    summary="Two layers with nothing nonlinear in between.",
    why=(
        "The product of two linear maps is a linear map: the network is a layer less deep than it looks, and what the "
        "second could have learned of features is lost. A norm in between is no activation."
    ),
    bad="nn.Sequential(nn.Linear(20, 64), nn.Linear(64, 64), nn.ReLU())",
    good="nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU())",
    check=_check,
    needs=frozenset({"graph"}),
    fix=_fix,
    source="NeuraLint (Nikanjam et al. 2021); W₂(W₁x + b₁) + b₂ = (W₂W₁)x + W₂b₁ + b₂",
)
