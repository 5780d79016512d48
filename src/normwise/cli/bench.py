"""`normwise bench`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from normwise.errors import ArgumentError, StoreError, explain

if TYPE_CHECKING:
    from rich.console import Console

    from normwise.bench.case import Case
    from normwise.bench.run import Options
    from normwise.results import Benchmark


def bench(
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--only", help="Cases whose name or group holds this; repeatable; * stands for any text."
        ),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="A first look under a minute, without torch.compile and JAX.")
    ] = False,
    list_cases: Annotated[bool, typer.Option("--list", help="Show the cases and stop.")] = False,
    op: Annotated[
        str | None, typer.Option(help="Time one operation of your own, such as batch_norm.")
    ] = None,
    shape: Annotated[str | None, typer.Option(help="Its input, such as 64x256x14x14.")] = None,
    layout: Annotated[str, typer.Option(help="contiguous or channels_last.")] = "contiguous",
    dtype: Annotated[str, typer.Option(help="float32, float64, bfloat16 or float16.")] = "float32",
    mode: Annotated[
        str, typer.Option(help="training (forward and backward) or evaluation (forward).")
    ] = "training",
    threads: Annotated[int | None, typer.Option(help="torch's threads.", show_default="torch's own")] = None,
    backend: Annotated[
        str, typer.Option(help="normwise's implementation: auto, aten, portable, native or cpu.")
    ] = "auto",
    compile_: Annotated[
        bool, typer.Option("--compile/--no-compile", help="Time torch.compile too, which takes minutes.")
    ] = True,
    jax: Annotated[bool, typer.Option("--jax/--no-jax", help="Time JAX too, where it is installed.")] = True,
    jax_python: Annotated[
        Path | None, typer.Option(help="Another Python that has JAX.", show_default=False)
    ] = None,
    tuned_malloc: Annotated[
        bool, typer.Option("--tuned-malloc", help="Call normwise.tune_allocator first.")
    ] = False,
    check: Annotated[bool, typer.Option("--check", help="Exit 1 where a bar is missed.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the record as JSON.")] = False,
    out: Annotated[
        list[Path] | None,
        typer.Option("--out", "-o", help="Write a .html page, .md or .json; repeatable.", show_default=False),
    ] = None,
) -> None:
    """Time normwise's layers against torch eager, torch.compile and JAX on this machine, and against its memory limit.

    With --op and --shape: one case of your own. Otherwise all cases, twenty minutes or so. Each runs in a
    process of its own, but for --quick.
    """
    from rich.console import Console

    from normwise.bench.run import Options
    from normwise.report.benchmark_write import check_benchmark_path

    cases = _cases(op, shape, layout, dtype, mode, tuple(only or ()), quick=quick)
    if list_cases:
        _print_cases(cases, as_json=json)
        return
    for path in out or ():
        check_benchmark_path(path)
    words = _command(cases if op else (), only or [], quick, threads, backend, compile_, jax, tuned_malloc)
    options = Options(
        quick=quick,
        threads=threads,
        backend=backend,
        compiled=compile_,
        jax=jax,
        jax_python=jax_python,
        tuned_malloc=tuned_malloc,
        apart=not quick,
        command=words,
    )
    log = Console(stderr=True)
    result = _run(cases, options, log)
    _show(result, out or [], log, as_json=json)
    if result.partial:
        raise typer.Exit(130)
    if check and (result.slower or not all(bar.passed for bar in result.bars)):
        raise typer.Exit(1)


def _cases(
    op: str | None,
    shape: str | None,
    layout: str,
    dtype: str,
    mode: str,
    only: tuple[str, ...],
    *,
    quick: bool,
) -> tuple[Case, ...]:
    """The one case that was described, or those of the catalogue that were asked for."""
    from normwise.bench.case import own_case
    from normwise.bench.catalogue import select

    if op is None:
        described = {
            "--shape": shape is not None,
            "--layout": layout != "contiguous",
            "--dtype": dtype != "float32",
            "--mode": mode != "training",
        }
        for option, given in described.items():
            if given:
                raise ArgumentError(
                    explain("bench", f"`{option}` must go with `--op`", "no operation", "add --op batch_norm")
                )
        return select(only, quick=quick)
    if shape is None:
        raise ArgumentError(
            explain("bench", "`--op` must go with `--shape`", "no shape", "add --shape 64x256x14x14")
        )
    if only:
        raise ArgumentError(explain("bench", "`--only` must choose among normwise's cases", "`--op` with it"))
    return (own_case(op, shape, layout, dtype, mode),)


def _print_cases(cases: tuple[Case, ...], *, as_json: bool) -> None:
    if as_json:
        import json as json_format

        print(json_format.dumps([{"name": case.name, "group": case.group} for case in cases], indent=1))
        return
    for case in cases:
        print(f"{case.name}  [{case.group}]" if case.group else case.name)


def _command(
    own: tuple[Case, ...],
    only: list[str],
    quick: bool,
    threads: int | None,
    backend: str,
    compiled: bool,
    jax: bool,
    tuned_malloc: bool,
) -> str:
    """The command that measures the same again; without files, whose names are nobody else's business."""
    words = ["normwise", "bench"]
    for case in own:
        words += ["--op", case.op, "--shape", "x".join(map(str, case.shape))]
        words += ["--layout", case.layout, "--dtype", case.dtype, "--mode", case.mode]
    for pattern in only:
        words += ["--only", pattern]
    words += ["--quick"] * quick + ([] if threads is None else ["--threads", str(threads)])
    words += [] if backend == "auto" else ["--backend", backend]
    words += ["--no-compile"] * (not compiled) + ["--no-jax"] * (not jax) + ["--tuned-malloc"] * tuned_malloc
    return shlex.join(words)


def _run(cases: tuple[Case, ...], options: Options, log: Console) -> Benchmark:
    """Measure, with the case in hand and the number done on stderr."""
    from normwise.bench.run import benchmark

    with log.status("starting") as status:

        def progress(done: int, total: int, name: str) -> None:
            line = f"{done} of {total} done: {name}"
            status.update(line)
            if not log.is_terminal:
                log.print(line, highlight=False, soft_wrap=True)

        return benchmark(cases, options, progress=progress)


def _show(result: Benchmark, files: list[Path], log: Console, *, as_json: bool) -> None:
    from rich.console import Console

    from normwise.report.benchmark_terminal import benchmark_to_terminal
    from normwise.report.benchmark_write import write_benchmark
    from normwise.results import dumps

    if as_json:
        print(dumps(result, indent=1))
    else:
        benchmark_to_terminal(result, Console())
    for path in files:
        try:
            log.print(f"Written: {write_benchmark(result, path)}", soft_wrap=True, highlight=False)
        except OSError as error:
            raise StoreError(
                explain("bench", "the results must be written", f"{error.strerror} for {path}")
            ) from None
