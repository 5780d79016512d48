"""Orthogonal weights as a parametrization."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.modules.conv import _ConvNd
from torch.nn.utils import parametrize

from normwise.errors import ArgumentError, explain, unknown_name
from normwise.layers._parametrize import (
    Axis,
    ModuleT,
    PerUnit,
    axis_of,
    parameter_of,
    register,
    require_none,
    widened,
    without_autocast,
)

_MAPS = ("matrix_exp", "cayley", "householder")


class Orthogonal(PerUnit):
    """The parametrization ``weight = base · Q(X)``, Q orthogonal whatever X is.

    `parametrizations.weight.original` is X, of the weight's shape, and `parametrizations.weight.0.base` an orthogonal
    matrix that does not train, as in torch.

    Attributes:
        base: (n, n), n the larger of output units and fan-in; with several groups (groups, n, n).
    """

    base: Tensor

    def __init__(
        self, weight: Tensor, orthogonal_map: str | None, dim: int, groups: int, blocks: int
    ) -> None:
        super().__init__(dim, groups)
        self.blocks = blocks
        x = self._matrices(weight.detach())
        square = x.shape[-2] == x.shape[-1]
        self.orthogonal_map = orthogonal_map or ("matrix_exp" if square else "householder")
        size = max(x.shape[-2:])
        self.register_buffer(
            "base", torch.eye(size, dtype=x.dtype, device=x.device).repeat(*x.shape[:-2], 1, 1)
        )

    def forward(self, original: Tensor) -> Tensor:
        """The orthogonal weight."""
        x = widened(self._matrices(original))
        wide = x.shape[-2] < x.shape[-1]
        x = x.mT if wide else x
        moved = _reflections(x) if self.orthogonal_map == "householder" else self._rotation(x)
        with without_autocast(x):
            weight = self.base.to(x.dtype) @ moved
        return self.from_matrix(weight.mT if wide else weight, original).to(original.dtype)

    @torch.no_grad()
    def right_inverse(self, weight: Tensor) -> Tensor:
        """The X at which the weight is the orthogonal factor of the given one; the base becomes it."""
        matrices = widened(self._matrices(weight))
        x = torch.zeros_like(matrices)
        # What torch stores, so that its checkpoints mean the same: minus one says that no column is reflected.
        x.diagonal(dim1=-2, dim2=-1).fill_(-1.0)
        tall = matrices if matrices.shape[-2] >= matrices.shape[-1] else matrices.mT
        q, r = torch.linalg.qr(tall, mode="complete")
        # A sign of each column makes the factor of an orthogonal weight that weight; where r is zero any will do.
        columns = tall.shape[-1]
        sign = torch.where(r.diagonal(dim1=-2, dim2=-1) < 0, -1.0, 1.0).unsqueeze(-2)
        self.base.copy_(torch.cat((q[..., :columns] * sign, q[..., columns:]), dim=-1))
        return self.from_matrix(x, weight).to(weight.dtype).contiguous()

    def extra_repr(self) -> str:
        """The axis, the groups and the map."""
        blocks = f", blocks={self.blocks}" if self.blocks > 1 else ""
        return f"{super().extra_repr()}{blocks}, orthogonal_map={self.orthogonal_map!r}"

    def _matrices(self, weight: Tensor) -> Tensor:
        matrix = self.as_matrix(weight)
        return matrix if self.blocks == 1 else matrix.reshape(self.blocks, -1, matrix.shape[1])

    def _rotation(self, x: Tensor) -> Tensor:
        columns = x.shape[-1]
        lower = torch.nn.functional.pad(x.tril(), (0, x.shape[-2] - columns))
        skew = lower - lower.mT
        if self.orthogonal_map == "matrix_exp":
            exponential: Tensor = torch.linalg.matrix_exp(skew)
            return exponential[..., :columns]
        eye = torch.eye(skew.shape[-1], dtype=skew.dtype, device=skew.device)
        cayley: Tensor = torch.linalg.solve(eye - skew / 2, eye + skew / 2)
        return cayley[..., :columns]


def orthogonal(
    module: ModuleT, name: str = "weight", orthogonal_map: str | None = None, dim: Axis = "output"
) -> ModuleT:
    """Keep a module's weight orthogonal while it trains, in place, and return the module.

    The weight as (output units, fan-in) has orthonormal rows, or columns where there are more units than incoming
    weights; a convolution with groups has that in each group. At first it is the orthogonal factor of the given weight
    (itself, where that is orthogonal). It is computed in float32, float64 for a float64 weight. Checkpoints of matrices
    are exchanged with torch's `parametrizations.orthogonal`. Unlike torch's: a convolution's kernel is seen as one
    matrix, not as a stack of its planes; weight decay does no harm (torch's reflections become zero with the first
    decayed step); a zero weight becomes an orthogonal one; narrow dtypes and the meta device work.

    Of a convolution it is the kernel that is orthogonal; the map between images is then bounded, and no isometry.

    Args:
        module: Linear, any convolution, or a module of your own with a `dim`.
        name: the parameter, of two axes or more.
        orthogonal_map: "matrix_exp", "cayley" or "householder"; None takes the first for a square matrix, else
            reflections.
        dim: the axis of output units; "output" finds it.

    Raises:
        ArgumentError: (a ValueError) there is no such parameter, it has one axis or complex values, it is
            orthogonal already, or the axis is not known.
        UnknownNameError: the map is not known.

    Source: Lezcano-Casado & Martínez-Rubio 2019 (exponential map); Lezcano-Casado 2019 (the base).

    >>> from torch import nn
    >>> weight = orthogonal(nn.Linear(3, 2)).weight.detach()
    >>> (weight @ weight.T).round(decimals=3).abs()
    tensor([[1., 0.],
            [0., 1.]])
    """
    require_none("orthogonal", "orthogonal", module, name, Orthogonal)
    axis, groups = axis_of("orthogonal", module, name, dim)
    if orthogonal_map is not None and orthogonal_map not in _MAPS:
        raise unknown_name("orthogonal", "orthogonal_map", str(orthogonal_map), _MAPS)
    weight = parameter_of("orthogonal", module, name)
    if not weight.is_floating_point():
        raise ArgumentError(explain("orthogonal", f"`{name}` must be real", f"{weight.dtype}"))
    if parametrize.is_parametrized(module, name):
        raise ArgumentError(
            explain(
                "orthogonal",
                f"`{name}` must be a plain parameter: what comes before would have no effect",
                "a parametrized one",
                "remove the other parametrization with bake_weights_",
            )
        )
    blocks = module.groups if dim == "output" and isinstance(module, _ConvNd) else 1
    kind = Orthogonal(weight, orthogonal_map, axis, groups, blocks)
    register(module, name, kind)
    return module


def _reflections(x: Tensor) -> Tensor:
    """The product of Householder reflections along the columns below the diagonal, with the diagonal's signs."""
    below = x.tril(-1)
    scale = 2.0 / (1.0 + below.square().sum(dim=-2))
    product: Tensor = torch.linalg.householder_product(below, scale)
    return product * torch.where(x.diagonal(dim1=-2, dim2=-1) < 0, -1.0, 1.0).unsqueeze(-2)
