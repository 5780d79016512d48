"""What does the monitor cost? Three trainings step in turn: one with the monitor, two without it.

    python benchmarks/monitor.py [--seconds 20] [--threads 1] [--step 0.02] [--clock wall]

Each network is trained three times from the same seed, once under `normwise.Monitor` with its defaults. The three take
a few steps each, in rotating order, so that all see the same machine. The machine has more to do, hence medians:

    overhead = u / p − 1 + n · (c − 2u) / (N · p)

p: a step without the monitor; u: a step with it that is not watched; c: a step that is watched together with the one
before, at whose end hooks are put on; n: checks in N steps. The second training without the monitor is held against the
first: what they differ by is the machine's. On a busy one, `--clock cpu` counts the process's own time alone. Networks
are widened until a step takes `--step` seconds.

Exit code 1 where the overhead of a network is above 2 %, or where the weights of the watched training are not the same
bits at the end.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own abbreviation

from normwise.monitor import Monitor, StepRecord

LIMIT = 0.02
BLOCK = 6  # steps at a time: the monitor's median step must not hold those of the others

Clock = Callable[[], float]
CLOCKS: dict[str, Clock] = {"wall": time.perf_counter, "cpu": time.process_time}


def mlp(width: int) -> nn.Module:
    """Six hidden layers on 64 features."""
    sizes = [64, *[width] * 6]
    parts: list[nn.Module] = []
    for before, after in itertools.pairwise(sizes):
        parts += [nn.Linear(before, after), nn.BatchNorm1d(after), nn.ReLU()]
    return nn.Sequential(*parts, nn.Linear(width, 10))


def cnn(width: int) -> nn.Module:
    """Four blocks of two convolutions on images of 32 × 32."""
    parts: list[nn.Module] = []
    channels = 3
    for block in range(4):
        wide = width * 2 ** (block // 2)
        for _ in range(2):
            parts += [
                nn.Conv2d(channels, wide, 3, padding=1, bias=False),
                nn.BatchNorm2d(wide),
                nn.ReLU(inplace=True),
            ]
            channels = wide
        parts.append(nn.MaxPool2d(2))
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10))


NETWORKS: dict[str, tuple[Callable[[int], nn.Module], tuple[int, ...]]] = {
    "MLP": (mlp, (128, 64)),
    "CNN": (cnn, (32, 3, 32, 32)),
}


class Run:
    """A training from a fixed seed."""

    def __init__(self, build: Callable[[int], nn.Module], width: int, shape: tuple[int, ...]) -> None:
        torch.manual_seed(0)
        self.model = build(width)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), 1e-3)
        self._generator = torch.Generator().manual_seed(1)
        self._shape = shape

    def step(self) -> None:
        """One step on a random batch."""
        inputs = torch.randn(self._shape, generator=self._generator)
        targets = torch.randint(10, self._shape[:1], generator=self._generator)
        self.optimizer.zero_grad()
        torch.autograd.backward(F.cross_entropy(self.model(inputs), targets))
        self.optimizer.step()

    def timed(self, clock: Clock) -> float:
        """Seconds of a step."""
        began = clock()
        self.step()
        return clock() - began


@dataclass
class Outcome:
    """Seconds of steps without the monitor, without it again, and with it; its checks; whether weights agree."""

    seconds: tuple[list[float], list[float], list[float]]
    records: tuple[StepRecord, ...]
    same: bool

    @property
    def plain(self) -> float:
        """Median seconds of a step without the monitor."""
        return statistics.median(self.seconds[0])

    @property
    def noise(self) -> float:
        """What two trainings without the monitor differ by."""
        return statistics.median(self.seconds[1]) / self.plain - 1

    @property
    def check(self) -> float:
        """Median seconds that a check adds."""
        steps = self.seconds[2]
        return (
            statistics.median(steps[r.step - 1] + steps[r.step] for r in self.records) - 2 * self._unwatched
        )

    @property
    def overhead(self) -> float:
        """As the formula has it."""
        share = len(self.records) * self.check / (len(self.seconds[2]) * self.plain)
        return self._unwatched / self.plain - 1 + share

    @property
    def _unwatched(self) -> float:
        touched = {step for record in self.records for step in (record.step - 1, record.step)}
        return statistics.median(t for step, t in enumerate(self.seconds[2]) if step not in touched)


def wide_enough(
    build: Callable[[int], nn.Module], shape: tuple[int, ...], seconds: float, clock: Clock
) -> int:
    """The smallest of a list of widths at which a step takes so long."""
    width = 8
    while True:
        run = Run(build, width, shape)
        run.step()
        began = clock()
        for _ in range(5):
            run.step()
        if (clock() - began) / 5 >= seconds:
            return width
        width = width * 5 // 4


def compare(name: str, options: argparse.Namespace) -> tuple[int, Outcome]:
    """Alternate steps with and without the monitor."""
    build, shape = NETWORKS[name]
    clock = CLOCKS[options.clock]
    width = wide_enough(build, shape, options.step, clock)
    runs = [Run(build, width, shape) for _ in range(3)]
    times: tuple[list[float], list[float], list[float]] = ([], [], [])
    with Monitor(runs[2].model, runs[2].optimizer) as monitor:
        ends = time.perf_counter() + options.seconds
        while time.perf_counter() < ends:
            first = len(times[0]) // BLOCK % 3
            for which in (first, (first + 1) % 3, (first + 2) % 3):
                times[which].extend(runs[which].timed(clock) for _ in range(BLOCK))
    records = tuple(record for record in monitor.steps if record.step > 0)  # the first one warms up
    return width, Outcome(times, records, _same(runs[0].model, runs[2].model))


def _same(one: nn.Module, other: nn.Module) -> bool:
    pairs: list[tuple[Tensor, Tensor]] = list(
        zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    )
    return all(torch.equal(a, b) for a, b in pairs)


def main() -> int:
    """Measure all networks."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--seconds", type=float, default=20.0, help="per network")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    parser.add_argument("--step", type=float, default=LIMIT, help="least seconds of a step")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    failed = False
    for name in NETWORKS:
        width, seen = compare(name, options)
        failed |= not seen.same or seen.overhead > LIMIT
        print(describe(name, width, seen), flush=True)
    return int(failed)


def describe(name: str, width: int, seen: Outcome) -> str:
    """An outcome in lines."""
    return (
        f"{name} (width {width}): a step of {1e3 * seen.plain:.1f} ms; {len(seen.records)} checks that add "
        f"{1e3 * seen.check:.1f} ms in {len(seen.seconds[2])} steps; weights {'' if seen.same else 'NOT '}the same\n"
        f"  overhead {seen.overhead:+.2%}; two trainings without the monitor differ by {seen.noise:+.2%}"
    )


if __name__ == "__main__":
    sys.exit(main())
