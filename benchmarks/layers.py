"""Time normwise's layers against torch's own on the same input: forward and backward, alternating bursts, one process.

Prints milliseconds of both sides and the ratio torch / normwise (above 1: normwise is faster), taken burst by burst,
with its quartiles. Run it as ``make bench``; ``--threads`` sets torch's threads.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

import normwise as nw

BURSTS = 15


@dataclass(frozen=True)
class Case:
    """The two sides and their input."""

    name: str
    ours: Callable[[], nn.Module]
    theirs: Callable[[], nn.Module]
    shape: tuple[int, ...]
    channels_last: bool = False


class _ChannelsFirstLayerNorm(nn.Module):
    """What one writes in torch for LayerNorm over the channels of NCHW: permute, normalize, the layout put back."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x.movedim(1, -1)).movedim(-1, 1).contiguous()


CASES = (
    Case("BatchNorm1d", lambda: nw.BatchNorm1d(64), lambda: nn.BatchNorm1d(64), (32, 64)),
    Case("BatchNorm1d", lambda: nw.BatchNorm1d(784), lambda: nn.BatchNorm1d(784), (8192, 784)),
    Case("BatchNorm2d", lambda: nw.BatchNorm2d(64), lambda: nn.BatchNorm2d(64), (32, 64, 56, 56)),
    Case("BatchNorm2d", lambda: nw.BatchNorm2d(64), lambda: nn.BatchNorm2d(64), (32, 64, 56, 56), True),
    Case("LayerNorm", lambda: nw.LayerNorm(1024), lambda: nn.LayerNorm(1024), (4096, 1024)),
    Case("LayerNorm2d", lambda: nw.LayerNorm2d(64), lambda: _ChannelsFirstLayerNorm(64), (32, 64, 56, 56)),
    Case("GroupNorm", lambda: nw.GroupNorm(32, 64), lambda: nn.GroupNorm(32, 64), (32, 64, 56, 56)),
    Case(
        "InstanceNorm2d", lambda: nw.InstanceNorm2d(64), lambda: nn.InstanceNorm2d(64), (32, 64, 56, 56), True
    ),
    Case("RMSNorm", lambda: nw.RMSNorm(1024), lambda: nn.RMSNorm(1024), (4096, 1024)),
    Case(
        "BatchNormAct2d relu",
        lambda: nw.BatchNormAct2d(64, activation="relu"),
        lambda: nn.Sequential(nn.BatchNorm2d(64), nn.ReLU()),
        (32, 64, 56, 56),
    ),
    Case(
        "weight_norm Linear",
        lambda: nw.weight_norm(nn.Linear(64, 64)),
        lambda: nn.utils.parametrizations.weight_norm(nn.Linear(64, 64)),
        (32, 64),
    ),
    Case("Dropout", lambda: nw.Dropout(0.5), lambda: nn.Dropout(0.5), (256, 1024)),
)


def burst(layer: nn.Module, x: Tensor, cotangent: Tensor, calls: int) -> float:
    """Mean seconds of one forward and backward pass."""
    started = time.perf_counter()
    for _ in range(calls):
        layer(x).backward(cotangent)
    return (time.perf_counter() - started) / calls


def compare(case: Case) -> tuple[float, float, list[float]]:
    """Median milliseconds of normwise and torch, and the quartiles of torch / normwise."""
    layout = torch.channels_last if case.channels_last else torch.contiguous_format
    x = torch.randn(case.shape).to(memory_format=layout).requires_grad_()
    cotangent = torch.randn(case.shape).to(memory_format=layout)
    ours, theirs = case.ours(), case.theirs()
    calls = max(1, min(500, int(0.1 / max(1e-6, burst(theirs, x, cotangent, 3)))))
    burst(ours, x, cotangent, calls)
    times = [(burst(ours, x, cotangent, calls), burst(theirs, x, cotangent, calls)) for _ in range(BURSTS)]
    mine, other = (1000 * statistics.median(side) for side in zip(*times, strict=True))
    return mine, other, statistics.quantiles([b / a for a, b in times], n=4)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    threads = parser.parse_args().threads
    torch.set_num_threads(threads)
    capability = torch.backends.cpu.get_cpu_capability()
    table = Table(
        title=f"forward + backward, torch {torch.__version__}, {capability}, {threads} thread(s), {BURSTS} bursts"
    )
    for column in ("layer", "input", "layout", "normwise ms", "torch ms", "torch / normwise", "quartiles"):
        table.add_column(column, justify="left" if column in ("layer", "input", "layout") else "right")
    for case in CASES:
        mine, other, (low, middle, high) = compare(case)
        table.add_row(
            case.name,
            "×".join(str(n) for n in case.shape),
            "channels_last" if case.channels_last else "",
            f"{mine:.3g}",
            f"{other:.3g}",
            f"{middle:.2f}",
            f"{low:.2f} to {high:.2f}",
        )
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
