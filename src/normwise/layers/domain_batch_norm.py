"""Batch normalization with statistics and an affine map for each domain."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from normwise import functional
from normwise.errors import ArgumentError, explain
from normwise.functional.domain_batch_norm import domain_batch_norm
from normwise.layers._across_samples import AcrossSamples
from normwise.layers._state import Device, DType
from normwise.layers._trace import as_leaf, is_traced


class _DomainBatchNorm(AcrossSamples):
    """All but the number of axes."""

    def __init__(
        self,
        num_features: int,
        num_domains: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        device: Device = None,
        dtype: DType = None,
        *,
        bias: bool = True,
    ) -> None:
        if num_domains < 1:
            raise ArgumentError(
                explain(type(self).__name__, "`num_domains` must be at least 1", f"{num_domains}")
            )
        super().__init__(num_features, eps, momentum, affine, device, dtype, bias=bias)
        self.num_domains = num_domains
        for name, parameter in self._parameters.items():
            if parameter is not None:
                self._parameters[name] = nn.Parameter(self._for_each(parameter.detach()))
        for name, buffer in self._buffers.items():
            if buffer is not None:
                self._buffers[name] = self._for_each(buffer)

    def forward(self, input: Tensor, domain: int | Tensor) -> Tensor:  # type: ignore[override]
        """Normalize each sample by its domain.

        Args:
            input: (N, C, *).
            domain: of all samples, as a number from 0 to `num_domains` − 1, or of each, as integers (N,).
        """
        if is_traced(input):
            output: Tensor = as_leaf(self, input, domain)
            return output
        self.check_input(input)
        return self.normalize(input, domain=domain)

    def normalize(self, input: Tensor, **after: Any) -> Tensor:
        """Normalize the input."""
        domain: int | Tensor = after["domain"]
        running: Any = self.tracked() if self.by_batch() else self.running()
        if isinstance(domain, Tensor):
            self._check_domains(domain, input)
            return domain_batch_norm(
                input,
                domain,
                running,
                self.weight,
                self.bias,
                self.by_batch(),
                self.eps,
                moves=self.moves(),
            )
        if not 0 <= domain < self.num_domains:
            raise ArgumentError(
                explain(type(self).__name__, f"`domain` must lie in 0 … {self.num_domains - 1}", f"{domain}")
            )
        weight, bias, mean, var, batches, skipped = (
            None if values is None else values[domain]
            for values in (
                self.weight,
                self.bias,
                running.mean,
                running.var,
                running.batches,
                running.skipped,
            )
        )
        return functional.batch_norm(
            input,
            mean,
            var,
            weight,
            bias,
            self.by_batch(),
            self.momentum,
            self.eps,
            num_batches_tracked=batches,
            num_batches_skipped=skipped,
        )

    def arguments(self) -> dict[str, Any]:
        """The number of domains."""
        return {"num_domains": self.num_domains}

    def _for_each(self, values: Tensor) -> Tensor:
        return values.expand(self.num_domains, *values.shape).clone()

    def _check_domains(self, domain: Tensor, input: Tensor) -> None:
        integers = not (domain.is_floating_point() or domain.is_complex() or domain.dtype == torch.bool)
        if not integers or tuple(domain.shape) != (input.shape[0],):
            raise ArgumentError(
                explain(
                    type(self).__name__,
                    f"`domain` must be an int, or integers of shape ({input.shape[0]},), one a sample",
                    f"{domain.dtype} of shape {tuple(domain.shape)}",
                )
            )


class DomainBatchNorm1d(_DomainBatchNorm):
    """Batch normalization of (N, C) or (N, C, L) with statistics and an affine map for each domain.

    ``y = (x − μ_d) / sqrt(σ²_d + eps) · weight_d + bias_d`` per channel for a sample of domain d, with mean and biased
    variance of that domain's samples in the batch; in evaluation with its running ones. Parameters and running
    statistics are (D, C), counters (D,): row d is the state of a `BatchNorm1d` of that domain, and moves as that would;
    a domain that is absent from the batch keeps its row. A domain with one value per channel in a mixed batch is
    normalized by its running statistics, which stay.

    Args:
        num_features: C.
        num_domains: D.
        eps: added to the variance, under the root.
        momentum: weight of the new batch in the running statistics; None counts all of a domain's batches alike.
        affine: learn weights.
        device: of parameters and buffers.
        dtype: of parameters and buffers; buffers are float32 where it has 16 bits.
        bias: learn biases beside the weights.

    Raises:
        ArgumentError: (a ValueError) another number of axes or channels, a domain that is not known, domains that are
            no integers of shape (N,), or one value per channel in training where the domain is an int.
        IndexError: a value of a tensor of domains that is not known, on the CPU; elsewhere it is not looked at.

    Source: Chang et al. 2019; Li et al. 2016 (AdaBN) for statistics alone.

    >>> layer = DomainBatchNorm1d(1, num_domains=3, momentum=1.0)
    >>> _ = layer(torch.tensor([[0.0], [10.0], [2.0], [30.0]]), torch.tensor([0, 1, 0, 1]))
    >>> layer.running_mean.flatten(), layer.num_batches_tracked
    (tensor([ 1., 20.,  0.]), tensor([1, 1, 0]))
    """

    ranks = (2, 3)


class DomainBatchNorm2d(_DomainBatchNorm):
    """Batch normalization of (N, C, H, W) for each domain; see `DomainBatchNorm1d`.

    >>> DomainBatchNorm2d(3, num_domains=2)(torch.randn(2, 3, 4, 4), domain=1).shape
    torch.Size([2, 3, 4, 4])
    """

    ranks = (4,)


class DomainBatchNorm3d(_DomainBatchNorm):
    """Batch normalization of (N, C, D, H, W) for each domain; see `DomainBatchNorm1d`.

    >>> DomainBatchNorm3d(3, num_domains=2)(torch.randn(2, 3, 2, 4, 4), domain=0).shape
    torch.Size([2, 3, 2, 4, 4])
    """

    ranks = (5,)
