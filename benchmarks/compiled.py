"""Is a compiled network slower with normwise's layers than with torch's?

    python benchmarks/compiled.py [--only batch_norm] [--rounds 15] [--processes 3] [--threads 2]

Under `torch.compile` both sides are torch's operators, ours with what normwise promises beside them: running statistics
that a batch which is not finite leaves alone, counters, checks. Cases of `normwise bench`, forward and backward,
training steps and evaluation: both modules are compiled whole (`fullgraph=True`) for fixed shapes and take bursts of
calls in turn, in a process that does nothing else. A ratio is torch's time over normwise's, burst by burst, and a
process's result their median; of several processes, in which now torch's module comes first and now normwise's, the
median one counts (of an even number the lower): where a module's memory lies is worth more than a few percent.

Exit code 1 where a ratio is under 0.95.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
from typing import cast

import torch
from torch import nn

from normwise.bench.bursts import Here, alternate, spread
from normwise.bench.case import Case
from normwise.bench.catalogue import select
from normwise.bench.workload import workload
from normwise.results import Spread

LEAST = 0.95
CASES = (
    "batch_norm 32x64x56x56*float32",
    "batch_norm_relu 32x64x56x56*float32",
    "batch_norm_add_relu 32x64x56x56*float32",
    "batch_norm 32x64 ",
    "batch_norm 256x128 ",
    "batch_norm_relu_dropout",
    "group_norm 32x64x56x56",
    "instance_norm 32x64x56x56",
    "layer_norm 4096x1024",
    "layer_norm 32x64 ",
    "layer_norm_channels 32x64x56x56",
    "rms_norm 4096x1024",
    "dropout 8192x784*float32",
    "weight_norm",
    "mlp_256",
    "mlp_tiny",
    "cnn",
)
"""As `normwise bench --only` takes them."""

Times = tuple[Spread, Spread, Spread]
"""Milliseconds of torch's layers and of normwise's, and the ratio."""


def measure(case: Case, rounds: int, threads: int, ours_first: bool) -> Times:
    """Time one case in this process."""
    torch.set_num_threads(threads)
    work = workload(case)
    modules = [("torch", work.eager), ("normwise", work.ours)]
    sides = {}
    for name, module in reversed(modules) if ours_first else modules:
        whole = cast(nn.Module, torch.compile(module, dynamic=False, fullgraph=True))
        sides[name] = Here(work.bind(whole))
    times = alternate(sides, rounds)
    ratio = spread([theirs / ours for theirs, ours in zip(times["torch"], times["normwise"], strict=True)])
    theirs, ours = (spread([1000 * seconds for seconds in times[name]]) for name in ("torch", "normwise"))
    return theirs, ours, ratio


def median_of(processes: int, case: Case, rounds: int, threads: int) -> Times:
    """Time one case in several processes, one after the other; the one whose ratio lies in the middle."""
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        found = [pool.apply(measure, (case, rounds, threads, bool(turn % 2))) for turn in range(processes)]
    return sorted(found, key=lambda times: times[2].median)[(processes - 1) // 2]


def main() -> int:
    """Time the cases and print a line for each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", action="append", help="cases, as `normwise bench --only` takes them")
    parser.add_argument("--rounds", type=int, default=15, help="bursts of each side")
    parser.add_argument("--processes", type=int, default=3, help="of each case, one after the other")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="torch's threads")
    given = parser.parse_args()

    cases = select(tuple(given.only or CASES))
    slower = []
    print(f"{'compiled torch':>15}{'compiled normwise':>19}{'ratio':>7}  case")
    for case in cases:
        theirs, ours, ratio = median_of(given.processes, case, given.rounds, given.threads)
        print(
            f"{theirs.median:>12.4f} ms{ours.median:>16.4f} ms{ratio.median:>7.2f}  {case.name}", flush=True
        )
        if ratio.median < LEAST:
            slower.append(case.name)
    print(f"{len(cases) - len(slower)} of {len(cases)} cases reach {LEAST}.", *slower, sep="\n  slower: ")
    return 1 if slower else 0


if __name__ == "__main__":
    sys.exit(main())
