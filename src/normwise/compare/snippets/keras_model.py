"""The model in Keras: sequential, or with functions where there are residual blocks."""

from __future__ import annotations

import itertools

from torch import nn

from normwise.compare.snippets.keras_augmentation import augmentation_layers
from normwise.compare.snippets.keras_layers import layer_text
from normwise.compare.snippets.keras_weights import KernelArguments
from normwise.compare.snippets.normalization_text import groups_in, varying_groups
from normwise.compare.snippets.recipe import Recipe
from normwise.compare.snippets.stages import Stage
from normwise.compare.snippets.text import LONGEST_RUN, call, sequence


def model_lines(recipe: Recipe, kernels: KernelArguments) -> list[str]:
    """The lines that end with `model` being there."""
    if any(stage.shortcut is not None for stage in recipe.stages):
        return _functional(recipe, kernels)
    layers, _ = augmentation_layers(recipe.variant.augment)
    blocks = [[_input(recipe)], *([layers] if layers else [])]
    blocks += [[_text(m, stage, kernels) for m in _modules(stage)] for stage in recipe.stages]
    return ["model = keras.Sequential([", *sequence(blocks, apart=True), "])"]


def _modules(stage: Stage) -> tuple[nn.Module, ...]:
    """What runs, without the flattening that Keras's global pooling does itself."""
    if isinstance(stage.modules[0], nn.AdaptiveAvgPool2d):
        return stage.modules[:1]
    return (*stage.ahead, *stage.modules)


def _input(recipe: Recipe) -> str:
    return f"keras.Input({input_shape(recipe)})"


def input_shape(recipe: Recipe) -> tuple[int, ...]:
    """The shape of an input with the channels last."""
    if not recipe.is_image:
        return recipe.in_shape
    channels, *size = recipe.in_shape
    return (*size, channels)


def _text(module: nn.Module, stage: Stage, kernels: KernelArguments) -> str:
    return layer_text(module, kernels.output if stage.is_output else kernels.hidden)


def _functional(recipe: Recipe, kernels: KernelArguments) -> list[str]:
    stages = recipe.stages
    augmentations, _ = augmentation_layers(recipe.variant.augment)
    lines = ["", *_residual_function(stages, kernels), "", "", f"inputs = {_input(recipe)}", "x = inputs"]
    lines += [f"x = {layer}(x)" for layer in augmentations]
    steps: list[tuple[str, ...]] = []
    for stage in stages:
        residual = stage.shortcut is not None
        plain = stage.ahead if residual else _modules(stage)
        step = [f"x = {_text(module, stage, kernels)}(x)" for module in plain]
        if residual:
            step.append(f"x = {_residual_call(stage, stages)}")
        steps.append(tuple(step))
    for same, equal in itertools.groupby(steps):
        times = len(list(equal))
        if times > LONGEST_RUN:
            lines += [f"for _ in range({times}):", *(f"    {line}" for line in same)]
        else:
            lines += list(same) * times
    return [*lines, "model = keras.Model(inputs, x)"]


def _residual_function(stages: tuple[Stage, ...], kernels: KernelArguments) -> list[str]:
    blocks = [stage for stage in stages if stage.shortcut is not None]
    stage = blocks[-1]
    groups = "groups" if varying_groups(stages) else None
    texts = [layer_text(m, kernels.hidden, units="channels", groups=groups) for m in stage.modules]
    lines = [f"def residual(x, channels{', groups' if groups else ''}):"]
    lines += [f"    y = {text}({'y' if i else 'x'})" for i, text in enumerate(texts[: stage.summed])]
    changing = next((b.shortcut for b in blocks if isinstance(b.shortcut, nn.Conv2d)), None)
    if changing is not None:
        shortcut = layer_text(changing, kernels.hidden, units="channels")
        lines += ["    if x.shape[-1] != channels:", f"        x = {shortcut}(x)"]
    lines.append("    y = layers.Add()([x, y])")
    *middle, last = texts[stage.summed :]
    lines += [f"    y = {text}(y)" for text in middle]
    return [*lines, f"    return {last}(y)"]


def _residual_call(stage: Stage, stages: tuple[Stage, ...]) -> str:
    convolution = next(module for module in stage.modules if isinstance(module, nn.Conv2d))
    groups = groups_in(stage) if varying_groups(stages) else None
    return call("residual", "x", str(convolution.out_channels), groups)
