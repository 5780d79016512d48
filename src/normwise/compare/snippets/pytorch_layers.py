"""Layers as PyTorch source text: torch's own wherever torch has them."""

from __future__ import annotations

from torch import nn

from normwise.compare.snippets.stages import Stage
from normwise.compare.snippets.text import LINE, call


def layer_text(
    module: nn.Module,
    *,
    inputs: str | None = None,
    outputs: str | None = None,
    groups: str | None = None,
) -> str:
    """The call that makes such a layer.

    Args:
        module: a layer of `normwise.models`.
        inputs, outputs, groups: expressions for its numbers of channels and groups; None writes its own.
    """
    if isinstance(module, nn.Linear | nn.Conv2d):
        return _weighted(module, inputs, outputs)
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
    if name in ("LayerNorm2d", "RMSNorm2d"):  # torch has none over channels
        return call(f"nw.{name}", outputs or str(module.num_channels))
    return call(f"nn.{name}")


def _weighted(module: nn.Linear | nn.Conv2d, inputs: str | None, outputs: str | None) -> str:
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
    return f"nw.weight_norm({text})" if is_weight_normalized(module) else text


def is_weight_normalized(module: nn.Module) -> bool:
    """Whether the layer's weight is under weight normalization, the one parametrization of `normwise.models`."""
    return "parametrizations" in dict(module.named_children())


def residual_class(stages: tuple[Stage, ...]) -> list[str]:
    """The class of the residual blocks among the stages, which differ in their numbers of channels alone."""
    blocks = [stage for stage in stages if stage.shortcut is not None]
    stage = blocks[-1]
    groups = "groups" if varying_groups(stages) else None
    texts = [layer_text(m, inputs="inputs", outputs="outputs", groups=groups) for m in stage.modules]
    changing = next((b.shortcut for b in blocks if isinstance(b.shortcut, nn.Conv2d)), None)
    shortcut = ["        self.shortcut = nn.Identity()"]
    if changing is not None:
        text = layer_text(changing, inputs="inputs", outputs="outputs")
        shortcut += ["        if inputs != outputs:", f"            self.shortcut = {text}"]
    return [
        "class Residual(nn.Module):",
        f"    def __init__(self, inputs, outputs{', groups' if groups else ''}):",
        "        super().__init__()",
        *_attribute("inner", texts[: stage.summed]),
        *_attribute("outer", texts[stage.summed :]),
        *shortcut,
        "",
        "    def forward(self, x):",
        "        return self.outer(self.inner(x) + self.shortcut(x))",
    ]


def residual_text(stage: Stage, stages: tuple[Stage, ...]) -> str:
    """The call that makes a residual block."""
    convolution = next(module for module in stage.modules if isinstance(module, nn.Conv2d))
    groups = next((str(m.num_groups) for m in stage.modules if isinstance(m, nn.GroupNorm)), None)
    return call(
        "Residual",
        str(convolution.in_channels),
        str(convolution.out_channels),
        groups if varying_groups(stages) else None,
    )


def varying_groups(stages: tuple[Stage, ...]) -> bool:
    """Whether the residual blocks differ in their numbers of groups."""
    residual = [stage for stage in stages if stage.shortcut is not None]
    return len({m.num_groups for s in residual for m in s.modules if isinstance(m, nn.GroupNorm)}) > 1


def _attribute(name: str, texts: list[str]) -> list[str]:
    """The assignment of layers that run one after the other."""
    chain = texts[0] if len(texts) == 1 else call("nn.Sequential", *texts)
    line = f"        self.{name} = {chain}"
    if len(line) <= LINE:
        return [line]
    return [f"        self.{name} = nn.Sequential(", *(f"            {text}," for text in texts), "        )"]
