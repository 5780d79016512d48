"""What a benchmark says in words: inputs, times, bars, findings; the same on a page and on a terminal."""

from __future__ import annotations

from normwise.report.numbers import MISSING, count, number, ratio
from normwise.results import BarResult, Benchmark, CaseResult, CopyBandwidth, Side

SIDES: tuple[tuple[Side, str], ...] = (
    ("normwise", "normwise"),
    ("eager", "torch eager"),
    ("compile", "torch.compile"),
    ("jax", "JAX jit"),
)
RIVALS = dict(SIDES)
BUSY = 0.05
"""Share of the machine that other processes may take while a case is timed."""

_MODES = {"training": "", "evaluation": "evaluation", "step": ""}


def milliseconds(value: float | None) -> str:
    """Write a time of so many milliseconds, in µs where it is short.

    >>> milliseconds(4.123), milliseconds(0.0345), milliseconds(None)
    ('4.12 ms', '34.5 µs', '–')
    """
    if value is None:
        return MISSING
    return f"{number(value)} ms" if value >= 0.1 else f"{number(1000 * value)} µs"


def size(value: int | None) -> str:
    """Write a number of bytes.

    >>> size(25690112), size(512), size(None)
    ('24.5 MiB', '512 B', '–')
    """
    if value is None:
        return MISSING
    scaled, unit = float(value), "B"
    for larger in ("KiB", "MiB", "GiB"):
        if scaled < 1024:
            break
        scaled, unit = scaled / 1024, larger
    return f"{number(scaled)} {unit}"


def shape(result: CaseResult) -> str:
    """Write the shape of a case's input, or of its weights."""
    return "×".join(map(str, result.shape))


def particulars(result: CaseResult) -> str:
    """Write what else a case is: layout, dtype and mode, where they are not the usual ones."""
    parts = (
        "" if result.layout == "contiguous" else result.layout,
        "" if result.dtype == "float32" else result.dtype,
        _MODES[result.mode],
    )
    return ", ".join(part for part in parts if part)


def machine_line(benchmark: Benchmark) -> str:
    """Write what the numbers depend on in one line."""
    machine = benchmark.machine
    versions = machine.versions
    parts = [
        machine.cpu,
        f"{machine.isa}" + (f" (kernels: {machine.kernel_isa})" if machine.kernel_isa else ""),
        f"{count(machine.threads, 'thread')} on {count(machine.cores, 'core')}",
        machine.system,
        f"torch {versions.get('torch', '?')}",
        *([f"JAX {versions['jax']}"] if "jax" in versions else []),
        f"normwise {versions.get('normwise', '?')}, back end {benchmark.backend}",
        f"{benchmark.malloc} malloc",
        "each case in a process of its own" if benchmark.apart else "",
        f"normwise keeps up to {size(benchmark.kept_bytes)} of its outputs" if benchmark.kept_bytes else "",
    ]
    return "; ".join(part for part in parts if part)


def bandwidth_line(points: tuple[CopyBandwidth, ...]) -> str:
    """Write the copy bandwidth of every level that was seen: the best within it, what lies in DRAM at its largest."""
    best: dict[str, float] = {}
    for point in points:
        if point.level:
            before = best.get(point.level, 0.0)
            best[point.level] = (
                point.gigabytes_per_second
                if point.level == "DRAM"
                else max(before, point.gigabytes_per_second)
            )
    told = ", ".join(f"{number(round(speed))} GB/s in {level}" for level, speed in best.items())
    return f"Copy bandwidth: {told}." if told else ""


def headline(benchmark: Benchmark) -> str:
    """Say what came out in one or two sentences."""
    cases = benchmark.cases
    if not cases:
        return "Nothing was measured yet."
    if len(cases) == 1:
        return _one(cases[0])
    parts = []
    if benchmark.bars:
        reached = sum(bar.passed for bar in benchmark.bars)
        parts.append(f"{reached} of {count(len(benchmark.bars), 'bar')} are reached.")
    judged = [case for case in cases if case.ratio("eager") is not None]
    if benchmark.backend == "auto":
        parts.append(
            f"In {len(benchmark.slower)} of {count(len(judged), 'case')} what normwise picks is slower than torch "
            "eager (under .95×)."
            if benchmark.slower
            else f"In none of {count(len(judged), 'case')} is what normwise picks slower than torch eager (under .95×)."
        )
    return " ".join(parts) or f"{count(len(cases), 'case')} timed."


def _one(case: CaseResult) -> str:
    ours = case.side("normwise")
    time = milliseconds(None if ours is None or ours.milliseconds is None else ours.milliseconds.median)
    limit = "" if case.times_limit is None else f", {ratio(case.times_limit)} the memory limit"
    against = [
        f"{ratio(case.ratio(side))} as fast as {name}" for side, name in SIDES if case.ratio(side) is not None
    ]
    extra = particulars(case)
    what = f"{case.title} on {shape(case)}" + (f" ({extra})" if extra else "")
    return f"{what}: {time}{limit}" + (f"; {', '.join(against)}." if against else ".")


def doubts(benchmark: Benchmark) -> tuple[str, ...]:
    """Return what may make the numbers wrong, a sentence each."""
    found = []
    busy = [share for case in benchmark.cases if (share := case.others or 0.0) > BUSY]
    if busy:
        found.append(
            f"Other processes took part of the machine (up to {max(busy):.0%}) while "
            f"{len(busy)} of {count(len(benchmark.cases), 'case')} were timed: these numbers mean little. Run it again "
            "on an idle machine."
        )
    if benchmark.partial:
        found.append("The run was interrupted: cases are missing.")
    if benchmark.quick:
        found.append("A quick run: few cases and few bursts, without torch.compile and JAX.")
    return tuple(found)


def bar_words(bar: BarResult) -> str:
    """Say how a group fared against its bar.

    >>> bar_words(BarResult("bn", "BN, 4-D", "eager", 1.6, 1.36, 1.9, 1.7, "a", 2, 2, True))
    '1.9× vs torch eager, bar 1.6×, worst case 1.7×'
    """
    if bar.quantity == "memory":
        return (
            f"{ratio(bar.value)} of eager's memory, at most {ratio(bar.bar)}, worst case {ratio(bar.worst)}"
        )
    rival = RIVALS[bar.quantity]
    return (
        f"{ratio(bar.value)} vs {rival}, bar {ratio(bar.bar)}{possible(bar)}, worst case {ratio(bar.worst)}"
    )


def possible(bar: BarResult) -> str:
    """Say how much is possible on the machine, where it is known."""
    return "" if bar.most is None else f" ({ratio(bar.most)} at most possible)"


METHOD = (
    "A call is a forward and a backward pass from a random cotangent in the input's memory format, gradients "
    "cleared before; in evaluation a forward pass in inference mode; a training step has cross-entropy and "
    "torch's fused SGD with momentum on all sides. All sides get the same tensors and equal parameters.",
    "Each side is warmed up, then all take turns in bursts of at least 20 ms (one call where a call lasts "
    "longer), garbage collected between the rounds. A burst's figure is the mean of its calls, a side's the "
    "median of its bursts; a ratio is taken burst by burst, its median with quartiles is given. JAX runs in a "
    "process of its own, which sleeps between its bursts.",
    "L is the least time that moving the tensors takes: a normalization reads or writes 2 tensors forward and 3 "
    "backward, with a residual 3 and 4, dropout 2 and 2, a penalty 1 and 2, each once, at the copy bandwidth "
    "measured in the same run on a working set of about the same size. Fresh outputs cost page faults on top. "
    "Where a call takes microseconds, or is a whole training step, L says nothing and is left out.",
    "What is possible in a training step is eager's time over that of the same network without normalizations, "
    "activations and dropouts: nothing that replaces these layers can gain more.",
    "Saved memory: the storages that autograd keeps from the forward for the backward pass, each once, parameters "
    "and buffers not counted.",
)
