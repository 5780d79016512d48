"""A benchmark as a file, in the form that its suffix names."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from normwise.errors import ArgumentError, explain
from normwise.report.benchmark_html import benchmark_to_html
from normwise.report.benchmark_markdown import benchmark_to_markdown
from normwise.report.numbers import listing
from normwise.results import Benchmark, dumps

BENCHMARK_WRITERS: dict[str, Callable[[Benchmark], str]] = {
    ".html": benchmark_to_html,
    ".md": benchmark_to_markdown,
    ".json": lambda benchmark: dumps(benchmark, indent=1),
}


def check_benchmark_path(path: Path) -> None:
    """Refuse a path that no benchmark can be written to, before anything is measured.

    Raises:
        ArgumentError: another suffix, or a folder.
    """
    if path.is_dir() or path.suffix.lower() not in BENCHMARK_WRITERS:
        raise ArgumentError(
            explain(
                "bench",
                f"`--out` must be a file that ends in {listing(list(BENCHMARK_WRITERS), 'or')}",
                repr(str(path)),
                "name it bench.html",
            )
        )


def write_benchmark(benchmark: Benchmark, path: str | os.PathLike[str]) -> Path:
    """Write a benchmark to `.html`, `.md` or `.json`: whole or not at all; missing folders are made.

    Raises:
        ArgumentError: another suffix, or a folder.
        OSError: the file cannot be written.
    """
    target = Path(path)
    check_benchmark_path(target)
    content = BENCHMARK_WRITERS[target.suffix.lower()](benchmark)
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        draft.write_text(content, encoding="utf-8")
        os.replace(draft, target)
    finally:
        draft.unlink(missing_ok=True)
    return target
