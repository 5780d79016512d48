"""Initial weights in PyTorch."""

from __future__ import annotations

from normwise.compare.snippets.recipe import Recipe
from normwise.compare.snippets.text import call, number
from normwise.compare.training import INITIAL_ROWS

_TORCH: dict[tuple[str, str], tuple[str, str | None]] = {
    ("he", "relu"): (
        'kaiming_normal_({}, nonlinearity="relu")',
        'kaiming_normal_({}, nonlinearity="linear")',
    ),
    ("he", "leaky_relu"): (
        'kaiming_normal_({}, 0.01, nonlinearity="leaky_relu")',
        'kaiming_normal_({}, nonlinearity="linear")',
    ),
    ("orthogonal", "relu"): ("orthogonal_({}, gain=2**0.5)", "orthogonal_({})"),
    ("xavier", ""): ("xavier_normal_({})", None),
}
"""Where torch.nn.init draws as normwise does: for hidden layers, and for the output layer where that differs."""


def initialization_lines(recipe: Recipe, *, ours: bool) -> list[str]:
    """The lines that draw the weights; with `ours` normwise is imported anyway and does it in one line."""
    scheme, scale = recipe.initialization.scheme, recipe.initialization.scale
    if scheme == "own":
        lines = _own(recipe) + _scaled(recipe) + _from_data(recipe)
        return ["", *lines] if lines else []
    activation = recipe.network.activation
    native = _TORCH.get((scheme, activation)) or _TORCH.get((scheme, ""))
    if native is not None and scale == 1 and not ours:
        return ["", *_native(recipe, *native)]
    lines = [
        call(
            "nw.initialize_",
            "model",
            f'"{scheme}"',
            None if scale == 1 else f"scale={number(scale)}",
            "seed=0",
            f"batch=X[:{INITIAL_ROWS}]" if scheme == "lsuv" else None,
            None if activation == "relu" else f'activation="{activation}"',
        )
    ]
    return ["", *lines, *_from_data(recipe)]


def _from_data(recipe: Recipe) -> list[str]:
    """Weight normalization starts from the data, whatever the scheme."""
    start = recipe.variant.kind.start
    return [f"nw.{start}(model, X[:{INITIAL_ROWS}])"] if start else []


def _own(recipe: Recipe) -> list[str]:
    """What standardization takes away from torch's draw: its deviation, that of a uniform one within ± 1 / √fan_in."""
    if recipe.variant.norm != "standardized" or recipe.network.kind == "model":
        return []
    return [
        "for layer in model.modules():",
        '    if hasattr(layer, "parametrizations"):',
        "        nn.init.constant_(layer.parametrizations.weight[0].gain, 3**-0.5)",
    ]


def _scaled(recipe: Recipe) -> list[str]:
    """The model's own draw, times a factor."""
    scale = recipe.initialization.scale
    if scale == 1:
        return []
    line = f"layer.weight.data *= {number(scale)}"
    if recipe.variant.kind.weights:  # what is computed can be assigned, not changed in place
        return [
            "with torch.no_grad():",
            "    for layer in model.modules():",
            '        if hasattr(layer, "parametrizations"):',
            f"            layer.weight = layer.weight * {number(scale)}",
            f"        elif isinstance(layer, {_kinds(recipe)}):",
            f"            layer.weight *= {number(scale)}",
        ]
    return [
        "for layer in model.modules():",
        f"    if isinstance(layer, {_kinds(recipe)}):",
        f"        {line}",
    ]


def _kinds(recipe: Recipe) -> str:
    """The classes of layers with weights to draw."""
    if recipe.network.kind == "model":
        return "(nn.Linear, nn.modules.conv._ConvNd)"
    return "nn.Linear" if recipe.network.kind == "mlp" else "(nn.Linear, nn.Conv2d)"


def _native(recipe: Recipe, hidden: str, output: str | None) -> list[str]:
    lines = [
        "for layer in model.modules():",
        f"    if isinstance(layer, {_kinds(recipe)}):",
        f"        nn.init.{hidden.format('layer.weight')}",
        "        if layer.bias is not None:",
        "            nn.init.zeros_(layer.bias)",
    ]
    if output is not None:
        last = f"model[-{len(recipe.stages[-1].modules)}].weight"
        lines.append(f"nn.init.{output.format(last)}  # no activation follows")
    return lines
