"""Initializers and regularizers of Keras kernels."""

from __future__ import annotations

import math
from dataclasses import dataclass

from normwise.compare.snippets.recipe import Recipe
from normwise.compare.snippets.text import call, number
from normwise.initialize._gain import gain


@dataclass(frozen=True)
class KernelArguments:
    """How kernels are initialized and regularized.

    Attributes:
        lines: definitions that stand before the model.
        hidden: the argument of hidden layers.
        output: the argument of the output layer.
        notes: what differs from what was compared.
    """

    lines: tuple[str, ...]
    hidden: str
    output: str
    notes: tuple[str, ...]


def kernel_arguments(recipe: Recipe) -> KernelArguments:
    """Initializer and regularizer of hidden layers and of the output layer."""
    hidden, output = _initializer(recipe, gain(recipe.network.activation)), _initializer(recipe, 1.0)
    penalty = _regularizer(recipe)
    # A named initializer is made anew for each layer; an instance that layers share draws the same numbers again.
    named = hidden.startswith('"') and output.startswith('"')
    lines = []
    if penalty is not None:
        lines += [f"penalty = {penalty}{_half(recipe)}"]
    if not named:
        lines += [
            "",
            "# a function, so that each layer has an initializer of its own: a shared one repeats its draws",
        ]
    several = len(recipe.stages) > 1
    for name, initializer in ((("hidden", hidden),) if several else ()) + (("output", output),):
        entries = f'"kernel_initializer": {initializer}'
        if penalty is not None:
            entries += ', "kernel_regularizer": penalty'
        if named:
            lines.append(f"{name} = {{{entries}}}")
        elif len(entries) < 80:
            lines += [f"def {name}():", f"    return {{{entries}}}", "", ""]
        else:
            parts = [
                f"        {entry}," for entry in entries.replace(', "kernel_reg', '\n"kernel_reg').split("\n")
            ]
            lines += [f"def {name}():", "    return {", *parts, "    }", "", ""]
    mark = "" if named else "()"
    return KernelArguments(tuple(lines), f"**hidden{mark}", f"**output{mark}", _notes(recipe, named))


def _initializer(recipe: Recipe, factor: float) -> str:
    """The initializer of a layer with that gain, by name where Keras has one."""
    scheme, scale = recipe.initialization.scheme, recipe.initialization.scale
    module = "keras.initializers"
    if scheme == "own":  # torch's draw: uniform within ± 1 / √fan_in
        third = "1 / 3" if scale == 1 else number(scale**2 / 3)
        return f'{module}.VarianceScaling({third}, "fan_in", "uniform")'
    if scheme == "gaussian":
        return f"{module}.RandomNormal(stddev={number(scale)})"
    if scheme == "xavier":
        variance = scale**2
        return '"glorot_normal"' if scale == 1 else _scaling(variance, "fan_avg")
    if scheme == "he":
        variance = (factor * scale) ** 2
        known = {2.0: '"he_normal"', 1.0: '"lecun_normal"'}
        return known.get(round(variance, 6)) or _scaling(variance, "fan_in")
    factor = scale if scheme == "lsuv" else factor * scale
    return f"{module}.Orthogonal(gain={_root(factor)})" if factor != 1 else '"orthogonal"'


def _root(factor: float) -> str:
    return "2**0.5" if math.isclose(factor, math.sqrt(2)) else number(factor)


def _scaling(variance: float, mode: str) -> str:
    return call("keras.initializers.VarianceScaling", number(variance), f'"{mode}"', '"untruncated_normal"')


def l2_strength(recipe: Recipe) -> float:
    """λ of what Keras adds to the loss as λ/2 · Σw²: SGD's and Adam's weight decay is the same as such a penalty."""
    variant = recipe.variant
    return variant.l2 + (0.0 if recipe.optimizer == "adamw" else variant.weight_decay)


def _regularizer(recipe: Recipe) -> str | None:
    l1, l2 = recipe.variant.l1, l2_strength(recipe) / 2
    if l1 and l2:
        return f"keras.regularizers.L1L2(l1={number(l1)}, l2={number(l2)})"
    if l1:
        return f"keras.regularizers.L1({number(l1)})"
    return f"keras.regularizers.L2({number(l2)})" if l2 else None


def _half(recipe: Recipe) -> str:
    strength = l2_strength(recipe)
    if not strength:
        return ""
    decay = recipe.variant.weight_decay and recipe.optimizer != "adamw"
    names = " + ".join(["L2"] * bool(recipe.variant.l2) + ["weight decay"] * bool(decay))
    return f"  # {names} of {number(strength)}: Keras has no ½ before the square"


def _notes(recipe: Recipe, named: bool) -> tuple[str, ...]:
    notes = []
    if recipe.initialization.scheme in ("he", "xavier") and named:
        notes.append("normal initializers are truncated, at the same variance")
    if recipe.initialization.scheme == "own":
        notes.append("biases start at zero")
    if recipe.initialization.scheme == "lsuv":
        notes.append(
            "weights start orthogonal, without LSUV's scaling by the data, which Keras does not have"
        )
    if recipe.variant.l1:
        notes.append("L1 acts through its subgradient: weights become small, but none exactly zero")
    return tuple(notes)
