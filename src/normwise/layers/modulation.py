"""Modulations: what maps a condition to a scale and a shift, both zero at the start.

Each is called with a condition and answers with `parts` tensors: scale, shift, and what further a class asks for.
Weights are its own, in no `Linear` or convolution, so that an initialization of the model leaves the zeros alone.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from normwise import functional
from normwise.errors import ArgumentError, explain
from normwise.layers._state import Device, DType

_CONVOLUTIONS = {
    1: (nn.Conv1d, nn.functional.conv1d),
    2: (nn.Conv2d, nn.functional.conv2d),
    3: (nn.Conv3d, nn.functional.conv3d),
}


class EmbeddingModulation(nn.Module):
    """Scale and shift of each class: (N,) → twice (N, C), or (N, *) → twice (N, *, C).

    Attributes:
        weight: (number of classes, parts · C), zeros at the start; a row has the scales first.

    Args:
        num_classes: the condition holds integers below it.
        num_features: C.
        parts: the number of tensors.
        device: of the weight.
        dtype: of the weight.

    Raises:
        ValueError: a condition that is not of integers.
        IndexError: a class that is not known (torch's own message).

    Source: Dumoulin, Shlens & Kudlur 2017, equation 5.

    >>> scale, shift = EmbeddingModulation(10, 3)(torch.tensor([4, 2]))
    >>> shift.detach()
    tensor([[0., 0., 0.],
            [0., 0., 0.]])
    """

    def __init__(
        self, num_classes: int, num_features: int, parts: int = 2, device: Device = None, dtype: DType = None
    ) -> None:
        super().__init__()
        self.num_classes, self.num_features, self.parts = num_classes, num_features, parts
        self.weight = nn.Parameter(torch.zeros(num_classes, parts * num_features, device=device, dtype=dtype))

    def reset_parameters(self) -> None:
        """Set all scales and shifts to zero."""
        nn.init.zeros_(self.weight)

    def forward(self, condition: Tensor) -> tuple[Tensor, ...]:
        """Look the classes up."""
        if condition.is_floating_point() or condition.dtype == torch.bool:
            raise ArgumentError(
                explain(
                    "EmbeddingModulation",
                    f"the condition must hold classes, integers below {self.num_classes}",
                    f"dtype {condition.dtype}",
                    "use condition.long(), or LinearModulation for vectors",
                )
            )
        return nn.functional.embedding(condition, self.weight).chunk(self.parts, -1)

    def extra_repr(self) -> str:
        """The arguments."""
        return f"{self.num_classes}, {self.num_features}, parts={self.parts}"


class LinearModulation(nn.Module):
    """Scale and shift as a linear map of a vector: (N, E) → twice (N, C), or (N, *, E) → twice (N, *, C).

    ``W · activation(c) + b``.

    Attributes:
        weight: (parts · C, E), zeros at the start; its first C rows give the scales.
        bias: (parts · C,), zeros at the start.

    Args:
        num_conditions: E, the size of the condition's last axis.
        num_features: C.
        parts: the number of tensors.
        activation: of the condition, before the map: "none", "relu", "leaky_relu" (slope 0.01), "gelu" (exact),
            "silu", "tanh" or "sigmoid".
        device: of the parameters.
        dtype: of the parameters.

    Raises:
        ValueError: a condition of another size.
        UnknownNameError: the activation is not known.

    Source: Perez et al. 2018.

    >>> scale, shift = LinearModulation(4, 3)(torch.randn(2, 4))
    >>> scale.shape
    torch.Size([2, 3])
    """

    def __init__(
        self,
        num_conditions: int,
        num_features: int,
        parts: int = 2,
        activation: str = "none",
        device: Device = None,
        dtype: DType = None,
    ) -> None:
        super().__init__()
        functional.check_finish(type(self).__name__, activation, 0.0)
        self.num_conditions, self.num_features, self.parts = num_conditions, num_features, parts
        self.activation = activation
        weight = torch.zeros(parts * num_features, num_conditions, device=device, dtype=dtype)
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(torch.zeros_like(weight[:, :1].flatten()))

    def reset_parameters(self) -> None:
        """Set all scales and shifts to zero."""
        nn.init.zeros_(self.weight)
        nn.init.zeros_(self.bias)

    def forward(self, condition: Tensor) -> tuple[Tensor, ...]:
        """Map the condition."""
        if condition.dim() < 2 or condition.shape[-1] != self.num_conditions:
            raise ArgumentError(
                explain(
                    "LinearModulation",
                    f"the condition must be (N, {self.num_conditions})",
                    f"shape {tuple(condition.shape)}",
                )
            )
        active = functional.finish(condition.to(self.weight.dtype), activation=self.activation)
        return nn.functional.linear(active, self.weight, self.bias).chunk(self.parts, -1)

    def extra_repr(self) -> str:
        """The arguments."""
        return (
            f"{self.num_conditions}, {self.num_features}, parts={self.parts}, activation={self.activation!r}"
        )


class SpatialModulation(nn.Module):
    """Scale and shift of each position, by two convolutions: (N, K, *) → twice (N, C, *).

    ``W ∗ relu(W₀ ∗ c + b₀) + b``, with zeros beyond the border.

    Attributes:
        shared: the first convolution, in torch's initialization.
        weight: (parts · C, hidden, kernel…) of the second one, zeros at the start.
        bias: (parts · C,), zeros at the start.

    Args:
        num_labels: K, the channels of the condition.
        num_features: C.
        parts: the number of tensors.
        hidden: channels between the convolutions.
        kernel_size: of both, an odd number.
        rank: 1, 2 or 3 axes of positions.
        device: of the parameters.
        dtype: of the parameters.

    Raises:
        ValueError: an even kernel, another rank, or a condition of other axes or channels.

    Source: Park, Liu, Wang & Zhu 2019, appendix A.

    >>> scale, shift = SpatialModulation(5, 3)(torch.randn(2, 5, 8, 8))
    >>> scale.shape
    torch.Size([2, 3, 8, 8])
    """

    def __init__(
        self,
        num_labels: int,
        num_features: int,
        parts: int = 2,
        hidden: int = 128,
        kernel_size: int = 3,
        rank: int = 2,
        device: Device = None,
        dtype: DType = None,
    ) -> None:
        super().__init__()
        if rank not in _CONVOLUTIONS or kernel_size < 1 or kernel_size % 2 == 0:
            raise ArgumentError(
                explain(
                    "SpatialModulation",
                    "`rank` must be 1, 2 or 3 and `kernel_size` odd",
                    f"{rank} and {kernel_size}",
                )
            )
        self.num_labels, self.num_features, self.parts = num_labels, num_features, parts
        self.hidden, self.kernel_size, self.rank = hidden, kernel_size, rank
        make = _CONVOLUTIONS[rank][0]
        self.shared = make(
            num_labels, hidden, kernel_size, padding=kernel_size // 2, device=device, dtype=dtype
        )
        shape = (parts * num_features, hidden, *(kernel_size,) * rank)
        self.weight = nn.Parameter(torch.zeros(shape, device=device, dtype=dtype))
        self.bias = nn.Parameter(torch.zeros(shape[0], device=device, dtype=dtype))

    def reset_parameters(self) -> None:
        """Set all scales and shifts to zero, and the first convolution to torch's initialization."""
        self.shared.reset_parameters()
        nn.init.zeros_(self.weight)
        nn.init.zeros_(self.bias)

    def forward(self, condition: Tensor) -> tuple[Tensor, ...]:
        """Map the condition."""
        fits = condition.dim() == self.rank + 2 and condition.shape[1] == self.num_labels
        if not fits or not condition.is_floating_point():
            raise ArgumentError(
                explain(
                    "SpatialModulation",
                    f"the condition must be (N, {self.num_labels}, *) with {self.rank} axes of positions, of numbers",
                    f"shape {tuple(condition.shape)}, dtype {condition.dtype}",
                    "of a map of classes, nn.functional.one_hot(map, K).movedim(-1, 1).float()",
                )
            )
        inner: Tensor = torch.relu(self.shared(condition.to(self.weight.dtype)))
        convolve = _CONVOLUTIONS[self.rank][1]
        return convolve(inner, self.weight, self.bias, padding=self.kernel_size // 2).chunk(self.parts, 1)

    def extra_repr(self) -> str:
        """The arguments."""
        return (
            f"{self.num_labels}, {self.num_features}, parts={self.parts}, hidden={self.hidden}, "
            f"kernel_size={self.kernel_size}, rank={self.rank}"
        )
