"""One watched step, from the forward pass to the record."""

from __future__ import annotations

import math
import time
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from normwise.errors import ArgumentError, explain
from normwise.monitor.figures import Window, layer_figures, log_slope, norm_figures, slopes
from normwise.monitor.host import finite, to_host
from normwise.monitor.places import Place
from normwise.monitor.records import LayerRecord, NormRecord, StepRecord
from normwise.monitor.refuse import WHO
from normwise.monitor.updates import Updates, rate_of
from normwise.monitor.watch import Seen, SeenNorm, Watch

Values = dict[tuple[str, str], float]
"""By the name of a layer and that of a figure; "" stands for the step."""


class Check:
    """Hooks on the model while a step lasts, and what they showed.

    Args:
        model, places, optimizer: that are watched.
        scaler: of the gradients; None without.
        whole: whether gradients of the backward pass are those of the step.
    """

    def __init__(
        self, model: nn.Module, places: tuple[Place, ...], optimizer: Optimizer, scaler: Any, whole: bool
    ) -> None:
        began = time.perf_counter()
        self._places = places
        self._watch = Watch(model, places)
        self._updates = Updates(places, optimizer, scaler, whole=whole)
        self._before: dict[tuple[str, str], torch.Tensor] = {}
        self._watch.open()
        self._updates.open()
        self._seconds = time.perf_counter() - began

    @property
    def seconds(self) -> float:
        """What it took so far."""
        return self._seconds + self._watch.seconds + self._updates.seconds

    def close(self) -> None:
        """Leave the model without hooks."""
        began = time.perf_counter()
        self._watch.close()
        self._updates.close()
        self._seconds += time.perf_counter() - began

    def before(self) -> None:
        """Read weights and gradients, right before the optimizer changes them.

        Raises:
            ArgumentError: no forward pass was seen.
        """
        began = time.perf_counter()
        self._check_seen()
        self._before = self._updates.before()
        self._seconds += time.perf_counter() - began

    def record(self, step: int, windows: dict[str, Window], process: int) -> StepRecord:
        """All that was seen; the one synchronisation."""
        began = time.perf_counter()
        figures = self._before | self._updates.after()
        with torch.no_grad():
            for name, seen in self._watch.layers.items():
                slope = slopes(seen)
                own = layer_figures(seen, slope) | windows[name].add(seen, slope)
                figures |= {(name, key): value for key, value in own.items()}
            for name, norm in self._watch.norms.items():
                figures |= {(name, key): value for key, value in norm_figures(norm).items()}
        values = to_host(figures)
        by_name: dict[str, dict[str, float]] = {}
        for (name, key), value in values.items():
            by_name.setdefault(name, {})[key] = value
        layers = tuple(self._layer(place, by_name.get(place.name, {})) for place in self._ordered())
        norms = tuple(_norm(seen, values) for seen in self._watch.norms.values())
        called = layers[: len(self._watch.layers)]
        gradients = [layer.gradient_rms for layer in called if layer.gradient_rms is not None]
        self._seconds += time.perf_counter() - began
        return StepRecord(
            step,
            any(seen.training for seen in self._watch.layers.values()),
            layers,
            norms,
            log_slope(gradients),
            finite(values.get(("", "clipping"))),
            values.get(("", "scale")),
            values.get(("", "overflow"), 0.0) > 0,
            process,
            self.seconds,
        )

    def _check_seen(self) -> None:
        if self._watch.traced:
            got = "a compiled function around or inside of the model"
            hint = "monitor an uncompiled run"
            raise ArgumentError(explain(WHO, "hooks must run as Python, step by step", got, hint))
        if not self._watch.layers:
            must = "a step of the optimizer must follow a forward pass of the model with gradients"
            hint = "is it a copy, a traced or a compiled form of the model that is trained?"
            raise ArgumentError(explain(WHO, must, "a step before which no layer of it was called", hint))

    def _ordered(self) -> list[Place]:
        seen = [entry.place for entry in self._watch.layers.values()]
        return seen + [place for place in self._places if place.name not in self._watch.layers]

    def _layer(self, place: Place, own: dict[str, float]) -> LayerRecord:
        seen = self._watch.layers.get(place.name)
        root = math.sqrt(place.weight.numel()) if place.weight is not None else math.nan
        rate = rate_of(place, own)
        weight = own.get("weight")
        return LayerRecord(
            place.name,
            type(place.module).__name__,
            "" if seen is None else seen.activation,
            finite(own.get("mean")),
            finite(own.get("std")),
            (finite(own.get("p5")), finite(own.get("p50")), finite(own.get("p95"))),
            finite(own.get("saturation")),
            finite(own.get("dead")),
            None if weight is None else finite(weight / root),
            finite(own["gradient"] / root) if "gradient" in own else None,
            finite(own.get("update")),
            rate,
            _effective(seen, rate, weight),
            finite(own.get("mean_shift")),
            finite(own.get("spread_shift")),
            finite(own.get("largest_shift")),
            all(math.isfinite(own.get(key, 0.0)) for key in ("mean", "std", "weight", "gradient")),
        )


def _effective(seen: Seen | None, rate: float | None, weight: float | None) -> float | None:
    """lr / ‖w‖² of a weight whose scale a norm takes out."""
    if seen is None or not seen.normalized or rate is None or not weight:
        return None
    return finite(rate / weight**2)


def _norm(seen: SeenNorm, values: Values) -> NormRecord:
    mean, spread = values[seen.name, "mean_gap"], values[seen.name, "spread_gap"]
    whole = math.isfinite(mean) and math.isfinite(spread)
    return NormRecord(
        seen.name, type(seen.module).__name__, seen.training, finite(mean), finite(spread), whole
    )
