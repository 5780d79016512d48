"""Layers as Keras source text, channels last."""

from __future__ import annotations

from torch import nn
from torch.nn.utils.parametrize import is_parametrized

from normwise.compare.snippets.text import call

_ACTIVATIONS = {
    "ReLU": "layers.ReLU()",
    "LeakyReLU": "layers.LeakyReLU(negative_slope=0.01)",  # Keras's default is 0.3
    "GELU": 'layers.Activation("gelu")',
    "SiLU": 'layers.Activation("silu")',
    "Tanh": 'layers.Activation("tanh")',
    "Sigmoid": 'layers.Activation("sigmoid")',
}
_RMS_EPSILON = "1e-7"  # torch's default, the machine epsilon of float32


def layer_text(
    module: nn.Module, weights: str, *, units: str | None = None, groups: str | None = None
) -> str:
    """The call that makes such a layer.

    Args:
        module: a layer of `normwise.models`.
        weights: the arguments for initializer and regularizer of layers with a kernel.
        units, groups: expressions for numbers of output channels and of groups; None writes the module's own.
    """
    name = type(module).__name__
    match module:
        case nn.Linear():
            return _normalized(module, call("layers.Dense", str(module.out_features), _bias(module), weights))
        case nn.Conv2d():
            size = module.kernel_size[0]
            padding = 'padding="same"' if size > 1 else None
            channels = units or str(module.out_channels)
            return _normalized(
                module, call("layers.Conv2D", channels, str(size), padding, _bias(module), weights)
            )
        case nn.GroupNorm():
            count = groups or str(module.num_groups)
            return call("layers.GroupNormalization", f"groups={count}", "epsilon=1e-5")
        case nn.InstanceNorm2d():
            return call("layers.GroupNormalization", "groups=-1", "epsilon=1e-5")
        case nn.Dropout2d():
            return call("layers.SpatialDropout2D", f"{module.p:g}")
        case nn.Dropout():
            return call("layers.Dropout", f"{module.p:g}")
        case nn.AvgPool2d():
            return call("layers.AveragePooling2D", str(module.kernel_size))
        case nn.AdaptiveAvgPool2d():
            return "layers.GlobalAveragePooling2D()"
        case nn.Flatten():
            return "layers.Flatten()"
    if name.startswith("BatchNorm"):
        return "layers.BatchNormalization(momentum=0.9, epsilon=1e-5)"
    if name.startswith("LayerNorm"):
        return "layers.LayerNormalization(epsilon=1e-5)"
    if name.startswith("RMSNorm"):
        return f"layers.RMSNormalization(epsilon={_RMS_EPSILON})"
    return _ACTIVATIONS[name]


def _normalized(module: nn.Module, text: str) -> str:
    """The layer, under Spectral Normalization if its weight is: Keras has no other parametrization."""
    return call("layers.SpectralNormalization", text) if is_parametrized(module, "weight") else text


def _bias(module: nn.Linear | nn.Conv2d) -> str | None:
    return None if module.bias is not None else "use_bias=False"
