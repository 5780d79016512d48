"""The answer of `normwise bench`: times of every case and rival, the limit of the machine, and the bars.

Times are of one call in milliseconds. A ratio is a rival's time over normwise's, so that above one normwise is
faster; it is taken burst by burst.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

BENCHMARK_SCHEMA_VERSION = 1
"""Raised whenever the meaning of a stored field changes."""

Side = Literal["normwise", "eager", "compile", "jax"]
"""Whose implementation: "eager" and "compile" are torch's."""

Mode = Literal["training", "evaluation", "step"]
"""`training`: forward and backward; `evaluation`: forward alone in inference mode; `step`: a whole training step."""


@dataclass(frozen=True)
class Spread:
    """The median of bursts with its quartiles."""

    low: float
    median: float
    high: float


@dataclass(frozen=True)
class SideResult:
    """One side of one case.

    Attributes:
        milliseconds: of one call; None where it could not be run.
        ratio: its time over normwise's; None for normwise itself, and where either was not run.
        error: why it could not be run; "" otherwise.
    """

    side: Side
    milliseconds: Spread | None
    ratio: Spread | None = None
    error: str = ""


@dataclass(frozen=True)
class CaseResult:
    """One operation on one shape, layout and dtype.

    Attributes:
        name: unique among the cases of a run.
        op: the operation's name, as `normwise bench --op` takes it, or the model's.
        title: the operation in words.
        group: what the case is judged with; "" if no bar speaks of it.
        limit_ms: every tensor touched once at the copy bandwidth of the case's working set; None where the time is not
            that of moving tensors (a whole step, a call of a few microseconds).
        times_limit: normwise's median over `limit_ms`.
        saved_bytes, eager_saved_bytes: kept from the forward for the backward pass, parameters and buffers excluded;
            None in evaluation.
        backend: which implementation normwise's side ran; several with commas between them.
        isa: the instruction set of normwise's kernels; "" where none ran.
        reason: why nothing faster ran; "" where there is nothing to say.
        others: share of the processors' time that other processes took meanwhile; None where it is not known.
        most: eager's time over that of the network without normalizations, activations and dropouts, which no layer
            can go beyond; None where the case is no training step.
    """

    name: str
    op: str
    title: str
    group: str
    shape: tuple[int, ...]
    layout: str
    dtype: str
    mode: Mode
    sides: tuple[SideResult, ...]
    bursts: int
    limit_ms: float | None
    times_limit: float | None
    gigabytes_per_second: float | None
    saved_bytes: int | None
    eager_saved_bytes: int | None
    backend: str
    isa: str = ""
    reason: str = ""
    others: float | None = None
    most: float | None = None

    def side(self, name: Side) -> SideResult | None:
        """Return the result of one side; None if it was not asked for."""
        return next((side for side in self.sides if side.side == name), None)

    def ratio(self, rival: Side) -> float | None:
        """Return the median ratio of a rival's time to normwise's; None where there is none."""
        side = self.side(rival)
        return None if side is None or side.ratio is None else side.ratio.median


@dataclass(frozen=True)
class BarResult:
    """What was asked of a group of cases, and what was measured.

    Attributes:
        quantity: "eager" and "compile": the ratio to that rival, at least `bar`; "memory": saved bytes over eager's, at
            most `bar`.
        bar: the geometric mean over the group must reach it.
        worst_bar: every single case must reach it.
        value: the geometric mean over the cases that were measured.
        worst: the case that is furthest from the bar, and `worst_case` its name.
        cases: how many were measured, of `asked`.
        most: the greatest ratio that is possible on the machine; None where it is not known.
    """

    group: str
    title: str
    quantity: Literal["eager", "compile", "memory"]
    bar: float
    worst_bar: float
    value: float
    worst: float
    worst_case: str
    cases: int
    asked: int
    passed: bool
    most: float | None = None


@dataclass(frozen=True)
class CopyBandwidth:
    """Bytes read and written per second by a copy whose source and target together are `working_set` bytes."""

    working_set: int
    gigabytes_per_second: float
    level: str  # the cache that holds it ("L2", "L3") or "DRAM"; "" where the caches are not known


@dataclass(frozen=True)
class BenchmarkMachine:
    """What the numbers depend on; nothing that names the machine or its owner.

    Attributes:
        isa: the instruction set that torch picked.
        kernel_isa: the one that normwise's own kernels picked; "" where there are none.
    """

    cpu: str
    system: str
    cores: int
    threads: int
    isa: str
    kernel_isa: str
    caches: dict[str, int]
    versions: dict[str, str]


@dataclass(frozen=True)
class Benchmark:
    """One run.

    Attributes:
        malloc: "default", or "tuned" by `normwise.tune_allocator`.
        kept_bytes: what normwise keeps free of its outputs at most, beside malloc: `normwise.keep_memory`.
        backend: what was asked for: "auto" or a name.
        bars: those of whose cases at least one was measured.
        slower: names of the cases in which what normwise picks by itself takes longer than eager (ratio < .95).
        partial: the run was interrupted.
        apart: each case was timed in a process of its own.
    """

    machine: BenchmarkMachine
    bandwidth: tuple[CopyBandwidth, ...]
    cases: tuple[CaseResult, ...]
    bars: tuple[BarResult, ...]
    slower: tuple[str, ...]
    malloc: Literal["default", "tuned"]
    backend: str
    bursts: int
    quick: bool
    command: str
    created: str
    seconds: float
    partial: bool = False
    kept_bytes: int = 0
    apart: bool = False
    schema: int = BENCHMARK_SCHEMA_VERSION
