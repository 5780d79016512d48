"""What a step of the optimizer really does to the watched weights, and with which gradients."""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from normwise.monitor.figures import norm_of
from normwise.monitor.places import Place, sample


class Updates:
    """Gradients and weight deltas of one step.

    Args:
        places: whose weights are watched.
        optimizer: that does the step.
        scaler: of the gradients, where the loss is scaled.
        whole: whether gradients of the backward pass are those of the step, as without DDP.

    Attributes:
        seconds: that hooks of the backward pass took.
    """

    def __init__(
        self, places: tuple[Place, ...], optimizer: Optimizer, scaler: Any = None, *, whole: bool = True
    ) -> None:
        self.seconds = 0.0
        self._places = [place for place in places if place.weight is not None and place.weight.requires_grad]
        self._optimizer, self._scaler, self._whole = optimizer, scaler, whole
        self._arrived: dict[str, Tensor] = {}
        self._before: dict[str, Tensor] = {}
        self._handles: list[RemovableHandle] = []

    def open(self) -> None:
        """Note gradients as they arrive, so that it is known whether they are clipped later."""
        if not self._whole:
            return
        for place in self._places:
            weight: Any = place.weight
            self._handles.append(weight.register_post_accumulate_grad_hook(self._arrival(place.name)))

    def close(self) -> None:
        """Take the hooks away."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def _arrival(self, name: str) -> Any:
        def note(weight: Tensor) -> None:
            began = time.perf_counter()
            if weight.grad is not None:
                self._arrived[name] = norm_of(weight.grad)
            self.seconds += time.perf_counter() - began

        return note

    @torch.no_grad()
    def before(self) -> dict[tuple[str, str], Tensor]:
        """Figures of weights and gradients right before the step."""
        scale = getattr(
            self._optimizer, "grad_scale", None
        )  # set for fused optimizers, which unscale themselves
        figures: dict[tuple[str, str], Tensor] = {}
        norms: dict[str, Tensor] = {}
        for place in self._places:
            weight: Any = place.weight
            figures[place.name, "weight"] = norm_of(weight)
            if weight.grad is not None:
                norms[place.name] = norm_of(weight.grad)
                unscaled = norms[place.name] if scale is None else norms[place.name] / scale
                figures[place.name, "gradient"] = unscaled
                self._before[place.name] = sample(weight)
            if isinstance(rate := (place.group or {}).get("lr"), Tensor):
                figures[place.name, "lr"] = rate
        return figures | self._of_all(norms, scale)

    def _of_all(self, norms: dict[str, Tensor], scale: Tensor | None) -> dict[tuple[str, str], Tensor]:
        """Loss scale, overflow, and the factor between the backward pass and the step."""
        figures: dict[tuple[str, str], Tensor] = {}
        enabled = self._scaler is not None and self._scaler.is_enabled()
        given = self._scaler._get_scale_async() if enabled else None
        known = given if scale is None else scale
        if known is not None:
            figures["", "scale"] = known
        if isinstance(overflow := getattr(self._optimizer, "found_inf", None), Tensor):
            figures["", "overflow"] = overflow
        both = [name for name in norms if name in self._arrived]
        if both:
            device = norms[both[0]].device
            after, first = (
                norm_of(torch.stack([values[name].to(device) for name in both]))
                for values in (norms, self._arrived)
            )
            unscaled = given if scale is None and given is not None else torch.ones_like(after)
            figures["", "clipping"] = after * unscaled.to(device) / first
        return figures

    @torch.no_grad()
    def after(self) -> dict[tuple[str, str], Tensor]:
        """‖Δw‖ / ‖w‖ right after the step."""
        figures = {}
        for place in self._places:
            if place.name in self._before:
                weight: Any = place.weight
                before = self._before.pop(place.name)
                figures[place.name, "update"] = norm_of(sample(weight) - before) / norm_of(before)
        return figures


def rate_of(place: Place, figures: dict[str, float]) -> float | None:
    """The learning rate of a layer's weight."""
    return figures.get("lr", (place.group or {}).get("lr"))
