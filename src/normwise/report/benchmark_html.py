"""A benchmark as one HTML page that needs nothing else: bars in CSS, no script, no network."""

from __future__ import annotations

from functools import cache
from typing import Any

from normwise._optional import require
from normwise.report.benchmark_page import benchmark_page
from normwise.results import Benchmark


def benchmark_to_html(benchmark: Benchmark) -> str:
    """Return a benchmark as one self-contained HTML page.

    Raises:
        MissingPackageError: jinja2 is not installed.
    """
    return str(_template().render(page=benchmark_page(benchmark)))


@cache
def _template() -> Any:
    jinja2 = require("jinja2", extra="compare", who="the page of a benchmark")
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("normwise.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("benchmark.html.j2")
