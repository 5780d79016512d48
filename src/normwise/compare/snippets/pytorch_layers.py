"""Layers as PyTorch source text: torch's own wherever torch has them."""

from __future__ import annotations

from torch import nn

from normwise.compare.snippets.normalization_text import (
    groups_in,
    normalization_text,
    parametrization_text,
    varying_groups,
)
from normwise.compare.snippets.stages import Stage
from normwise.compare.snippets.text import LINE, call
from normwise.norms import Kind


def layer_text(
    module: nn.Module,
    kind: Kind,
    *,
    inputs: str | None = None,
    outputs: str | None = None,
    groups: str | None = None,
) -> str:
    """The call that makes such a layer.

    Args:
        module: a layer of `normwise.models`.
        kind: the normalization of the network, which may lie in the layer's weight.
        inputs, outputs, groups: expressions for its numbers of channels and groups; None writes its own.
    """
    if isinstance(module, nn.Linear | nn.Conv2d):
        return _weighted(module, inputs, outputs, kind)
    name = type(module).__name__
    match module:
        case nn.GroupNorm():
            return call(f"nn.{name}", groups or str(module.num_groups), outputs or str(module.num_channels))
        case nn.InstanceNorm2d():
            return call(f"nn.{name}", outputs or str(module.num_features), "affine=True")
        case nn.BatchNorm1d() | nn.BatchNorm2d():
            return call(f"nn.{name}", outputs or str(module.num_features))
        case nn.LayerNorm() | nn.RMSNorm():
            return call(f"nn.{name}", str(module.normalized_shape[0]))
        case nn.Dropout() | nn.Dropout2d():
            return call(f"nn.{name}", f"{module.p:g}")
        case nn.AvgPool2d():
            return call(f"nn.{name}", str(module.kernel_size))
        case nn.AdaptiveAvgPool2d():
            return call(f"nn.{name}", str(module.output_size))
    return normalization_text(module, outputs, groups) or call(f"nn.{name}")


def _weighted(module: nn.Linear | nn.Conv2d, inputs: str | None, outputs: str | None, kind: Kind) -> str:
    bias = None if module.bias is not None else "bias=False"
    if isinstance(module, nn.Linear):
        text = call("nn.Linear", str(module.in_features), str(module.out_features), bias)
    else:
        size = module.kernel_size[0]
        text = call(
            "nn.Conv2d",
            inputs or str(module.in_channels),
            outputs or str(module.out_channels),
            str(size),
            f"padding={size // 2}" if size > 1 else None,
            bias,
        )
    if not _is_parametrized(module):
        return text
    return parametrization_text(text, kind.weights, dict(kind.options))


def _is_parametrized(module: nn.Module) -> bool:
    """Whether the layer's weight is computed, by the one parametrization that `normwise.models` gives it."""
    return "parametrizations" in dict(module.named_children())


def residual_class(stages: tuple[Stage, ...], kind: Kind) -> list[str]:
    """The class of the residual blocks among the stages, which differ in their numbers of channels alone."""
    blocks = [stage for stage in stages if stage.shortcut is not None]
    stage = blocks[-1]
    groups = "groups" if varying_groups(stages) else None
    texts = [layer_text(m, kind, inputs="inputs", outputs="outputs", groups=groups) for m in stage.modules]
    return [
        "class Residual(nn.Module):",
        f"    def __init__(self, inputs, outputs{', groups' if groups else ''}):",
        "        super().__init__()",
        *_attribute("inner", texts[: stage.summed]),
        *_attribute("outer", texts[stage.summed :]),
        "        self.shortcut = nn.Identity()",
        *_shortcut(blocks, kind),
        "",
        "    def forward(self, x):",
        "        return self.outer(self.inner(x) + self.shortcut(x))",
    ]


def _shortcut(blocks: list[Stage], kind: Kind) -> list[str]:
    """The convolution of a residual block where the number of channels changes."""
    changing = [block.shortcut for block in blocks if isinstance(block.shortcut, nn.Conv2d)]
    if not changing:
        return []
    under = [_is_parametrized(module) for module in changing]
    text, more = layer_text(changing[0], kind, inputs="inputs", outputs="outputs"), []
    if any(under) and not all(under):
        plain = next(module for module in changing if not _is_parametrized(module))
        text = layer_text(plain, kind, inputs="inputs", outputs="outputs")
        wrapped = parametrization_text("self.shortcut", kind.weights, dict(kind.options))
        more = ["            if inputs > 1:  # a single weight has no spread", f"                {wrapped}"]
    return ["        if inputs != outputs:", f"            self.shortcut = {text}", *more]


def residual_text(stage: Stage, stages: tuple[Stage, ...]) -> str:
    """The call that makes a residual block."""
    convolution = next(module for module in stage.modules if isinstance(module, nn.Conv2d))
    return call(
        "Residual",
        str(convolution.in_channels),
        str(convolution.out_channels),
        groups_in(stage) if varying_groups(stages) else None,
    )


def _attribute(name: str, texts: list[str]) -> list[str]:
    """The assignment of layers that run one after the other."""
    chain = texts[0] if len(texts) == 1 else call("nn.Sequential", *texts)
    line = f"        self.{name} = {chain}"
    if len(line) <= LINE:
        return [line]
    return [f"        self.{name} = nn.Sequential(", *(f"            {text}," for text in texts), "        )"]
