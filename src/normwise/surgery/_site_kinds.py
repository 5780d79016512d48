"""The layers whose statistics are not plain moments of each channel."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.instancenorm import _InstanceNorm

from normwise import layers
from normwise.functional.decorrelated_batch_norm import inverse_root
from normwise.surgery._pool import Instances, Part, Pool, Scatter, measured_instances, measured_scatter
from normwise.surgery._sites import Site

_SPLIT = (layers.SplitBatchNorm1d, layers.SplitBatchNorm2d, layers.SplitBatchNorm3d)
_DOMAIN = (layers.DomainBatchNorm1d, layers.DomainBatchNorm2d, layers.DomainBatchNorm3d)
_DECORRELATED = (
    layers.DecorrelatedBatchNorm1d,
    layers.DecorrelatedBatchNorm2d,
    layers.DecorrelatedBatchNorm3d,
)
_INSTANCE = (_InstanceNorm, layers.InstanceNormAct1d, layers.InstanceNormAct2d, layers.InstanceNormAct3d)


def site_of(module: nn.Module, name: str) -> Site:
    """How the statistics of a layer are pooled."""
    kinds: tuple[tuple[Any, type[Site]], ...] = (
        (_SPLIT, _SplitSite),
        (_DOMAIN, _DomainSite),
        (_DECORRELATED, _DecorrelatedSite),
        (_INSTANCE, _InstanceSite),
    )
    kind = next((kind for classes, kind in kinds if isinstance(module, classes)), Site)
    return kind(module, name)


class _SplitSite(Site):
    """Each part of a batch has statistics of its own."""

    def find_holders(self) -> list[nn.Module]:
        auxiliary: Any = self.module.aux_bn
        return [self.module, *auxiliary]

    def prepare(self, batchwise: bool) -> None:
        # In evaluation all is normalized as the first part; frozen in training, each part by its own statistics.
        self._before = [(holder, holder.statistics_frozen) for holder in self.holders]
        for holder in self.holders:
            holder.training = True
            holder.statistics_frozen = True  # type: ignore[assignment]  # torch types attributes as Tensor | Module

    def restore(self) -> None:
        for holder, frozen in self._before:
            holder.statistics_frozen = frozen

    def inputs(self, input: Tensor, **named: Any) -> list[tuple[Tensor, Tensor | None]]:
        return [(part, None) for part in input.tensor_split(len(self.holders))]


class _InstanceSite(Site):
    """Means over instances; in a pass by batches each instance is normalized by itself, as in training."""

    unit = "instances"

    def nothing(self, holder: nn.Module) -> Part:
        zeros: Any = super().nothing(holder)
        return Instances(zeros.count, zeros.mean, zeros.mean)

    def prepare(self, batchwise: bool) -> None:
        if batchwise:
            self.module.track_running_stats = False  # type: ignore[assignment]

    def restore(self) -> None:
        self.module.track_running_stats = True  # type: ignore[assignment]

    def fits(self, input: Tensor) -> bool:
        channels: Any = self.module.num_features
        return input.dim() > 1 and channels in input.shape[:2]

    def inputs(self, input: Tensor, **named: Any) -> list[tuple[Tensor, Tensor | None]]:
        ranks = getattr(self.module, "ranks", None)
        unbatched = ranks[0] if ranks else self.module._get_no_batch_dim()  # type: ignore[operator]
        return super().inputs(input.unsqueeze(0) if input.dim() == unbatched else input, **named)

    def measure(self, input: Tensor, sample_weight: Tensor | None) -> Part:
        return measured_instances(input, sample_weight)

    def several(self, pool: Pool, found: Any, input: Tensor) -> Any:
        return found

    def values(self, part: Any, *, biased: bool) -> dict[str, Tensor]:
        return {"running_mean": part.mean, "running_var": part.var}

    def enough(self, part: Part, holder: nn.Module) -> bool:
        return True


class _DecorrelatedSite(Site):
    """A matrix for each group of channels takes the variance's place."""

    def nothing(self, holder: nn.Module) -> Part:
        matrix: Any = holder._buffers["running_whitening"]
        zeros = torch.zeros_like(matrix, dtype=torch.float64)
        return Scatter(zeros.new_zeros(()), zeros[..., 0].flatten(), zeros)

    def measure(self, input: Tensor, sample_weight: Tensor | None) -> Part:
        layer: Any = self.module
        return measured_scatter(input, layer.num_groups)

    def values(self, part: Any, *, biased: bool) -> dict[str, Tensor]:
        layer: Any = self.module
        identity = torch.eye(part.products.shape[1], dtype=part.products.dtype, device=part.products.device)
        covariance = part.products / part.count.clamp_min(1.0) + layer.eps * identity
        return {"running_mean": part.mean, "running_whitening": inverse_root(covariance, layer.iterations)}

    def deviation(self, part: Any) -> Tensor:
        squares = part.products.diagonal(dim1=1, dim2=2).flatten()
        deviation: Tensor = (squares / part.count.clamp_min(1.0)).sqrt()
        return deviation


class _DomainSite(Site):
    """A row of each buffer for each domain."""

    def find_holders(self) -> list[nn.Module]:
        layer: Any = self.module
        return [self.module] * layer.num_domains

    def take(self, batchwise: bool, input: Tensor, **named: Any) -> None:
        domain = named["domain"]
        for number, pool in enumerate(self.pools):
            part = input[domain == number] if isinstance(domain, Tensor) else input
            if part.shape[0] == 0 or (not isinstance(domain, Tensor) and domain != number):
                continue
            found = self.measure(part, None)
            pool.add(found)
            single = part.numel() == part.shape[1]
            # As in the layer itself: one value of a domain is normalized by what is known of it.
            if batchwise and (not single or float(pool.part.count) > 1.0):
                shown = self.values(pool.part if single else found, biased=True)
                self.show(self.module, {k: self._with_row(k, number, v) for k, v in shown.items()})

    def _with_row(self, name: str, number: int, row: Tensor) -> Tensor:
        old: Any = self.module._buffers[name]
        new: Tensor = old.clone()
        new[number] = row.to(old.device, old.dtype)
        return new

    def enough(self, part: Part, holder: nn.Module) -> bool:
        return True  # one value of a domain tells nothing, and its row stays

    def results(self) -> list[tuple[nn.Module, dict[str, Tensor]]]:
        # A row at a time, each in the place that it has among all of them; absent domains keep theirs.
        rows = {number: pool for number, pool in enumerate(self.pools) if float(pool.part.count) > 1.0}
        whole: dict[str, Tensor] = {}
        for number, pool in rows.items():
            biased = bool(getattr(self.module, "biased_running_var", False))
            new = self.values(pool.part, biased=biased)
            new["num_batches_tracked"] = pool.calls - pool.left_out
            for name, row in new.items():
                old: Any = self.module._buffers.get(name)
                if old is not None:
                    whole.setdefault(name, old.double().clone())[number] = row
        return [(self.module, whole)] if rows else []
