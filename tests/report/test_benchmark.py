from __future__ import annotations

import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from rich.console import Console

from normwise.errors import ArgumentError
from normwise.report.benchmark_html import benchmark_to_html
from normwise.report.benchmark_markdown import benchmark_to_markdown
from normwise.report.benchmark_page import benchmark_page
from normwise.report.benchmark_terminal import benchmark_to_terminal
from normwise.report.benchmark_words import headline
from normwise.report.benchmark_write import write_benchmark
from normwise.results import (
    BarResult,
    Benchmark,
    BenchmarkMachine,
    CaseResult,
    CopyBandwidth,
    SideResult,
    Spread,
    loads,
)

VOID = {"meta", "br", "hr"}


def case(name: str, ours: float, eager: float, compiled: float | None, **more: object) -> CaseResult:
    def side(kind: str, time: float | None) -> SideResult:
        if time is None:
            return SideResult(kind, None, error="RuntimeError: <no> compiler")  # type: ignore[arg-type]
        ratio = None if kind == "normwise" else Spread(0.9 * time / ours, time / ours, 1.1 * time / ours)
        return SideResult(kind, Spread(0.9 * time, time, 1.2 * time), ratio)  # type: ignore[arg-type]

    result = CaseResult(
        name=name,
        op="batch_norm",
        title="Batch normalization → ReLU",
        group="bn",
        shape=(32, 64, 56, 56),
        layout="channels_last",
        dtype="float32",
        mode="training",
        sides=(side("normwise", ours), side("eager", eager), side("compile", compiled)),
        bursts=15,
        limit_ms=2.25,
        times_limit=ours / 2.25,
        gigabytes_per_second=57.0,
        saved_bytes=10 * 2**20,
        eager_saved_bytes=30 * 2**20,
        backend="portable",
    )
    return replace(result, **more)  # type: ignore[arg-type]


FAST = case("fast", 4.0, 8.0, 6.0)
SLOW = case("slow", 4.0, 3.0, None, dtype="bfloat16")
EVALUATION = case(
    "evaluation", 1.0, 1.0, 1.0, mode="evaluation", limit_ms=None, times_limit=None, saved_bytes=None
)


@pytest.fixture
def benchmark() -> Benchmark:
    machine = BenchmarkMachine(
        "A processor & Co",
        "Linux x86_64",
        4,
        2,
        "AVX512",
        "avx2",
        {"L2": 2**20},
        {"torch": "2.13", "normwise": "1"},
    )
    bars = (
        BarResult("bn", "BN → ReLU", "eager", 3.0, 2.55, 1.2, 0.75, "slow", 2, 2, False),
        BarResult("bn", "BN → ReLU", "compile", 1.2, 1.0, 1.5, 1.5, "fast", 1, 2, True),
        BarResult("bn", "memory saved by BN", "memory", 0.4, 0.4, 0.34, 0.34, "fast", 2, 2, True),
    )
    return Benchmark(
        machine=machine,
        bandwidth=(CopyBandwidth(2**20, 190.0, "L2"), CopyBandwidth(2**28, 28.0, "DRAM")),
        cases=(FAST, SLOW, EVALUATION),
        bars=bars,
        slower=("slow",),
        malloc="default",
        backend="auto",
        bursts=15,
        quick=False,
        command="normwise bench --threads 2",
        created="2026-01-01T00:00:00+00:00",
        seconds=100.0,
    )


def printed(benchmark: Benchmark, width: int = 120, encoding: str = "utf-8") -> str:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    benchmark_to_terminal(benchmark, Console(file=stream, width=width, no_color=True))
    stream.flush()
    return stream.buffer.getvalue().decode(encoding)  # type: ignore[attr-defined]


class Page(HTMLParser):
    """Checks that elements nest, and collects styles and ids."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.styles: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            {"style": self.styles, "id": self.ids, "href": self.links}.get(name, []).append(value or "")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_memory_that_normwise_keeps_is_told(benchmark: Benchmark) -> None:
    keeping = replace(benchmark, kept_bytes=256 * 2**20)
    for told in (benchmark_to_markdown(keeping), benchmark_to_html(keeping), printed(keeping, width=400)):
        assert "normwise keeps up to 256 MiB of its outputs" in told
    assert "keeps up to" not in benchmark_to_html(benchmark)


def test_that_each_case_had_a_process_of_its_own_is_told(benchmark: Benchmark) -> None:
    for told in (benchmark_to_markdown, benchmark_to_html):
        assert "each case in a process of its own" in told(replace(benchmark, apart=True))
        assert "each case in a process" not in told(replace(benchmark, apart=False))


def test_the_page_nests_and_loads_nothing(benchmark: Benchmark) -> None:
    text = benchmark_to_html(benchmark)
    page = Page(text)
    assert page.open == []
    assert len(set(page.ids)) == len(page.ids)
    assert {link.removeprefix("#") for link in page.links} <= set(page.ids)
    assert not re.search(r"https?:|@import|<script|<link|url\(", text)
    assert "A processor &amp; Co" in text
    assert "&lt;no&gt; compiler" in text


def test_a_wrongly_nested_page_is_noticed() -> None:
    with pytest.raises(AssertionError):
        Page("<p><b></p></b>")


def test_no_bar_leaves_its_place(benchmark: Benchmark) -> None:
    for style in Page(benchmark_to_html(benchmark)).styles:
        parts = {key: float(value) for key, value in re.findall(r"(left|width):([\d.]+)", style)}
        assert parts
        assert sum(parts.values()) <= 100.01


def test_lengths_are_shares_of_the_slowest_and_ratios_on_a_logarithmic_scale(benchmark: Benchmark) -> None:
    page = benchmark_page(benchmark)
    row = page.sections[0].rows[0]
    longest = 1.2 * 8.0
    assert [bar.width for bar in row.bars] == [pytest.approx(100 * t / longest, abs=0.01) for t in (4, 8, 6)]
    assert row.limit == pytest.approx(100 * 2.25 / longest, abs=0.01)
    assert page.scale[0] == ("1×", 33.33)
    assert page.scale[-1] == ("4×", 100.0)
    gauge = page.bars[0].eager
    assert gauge is not None
    assert gauge.one == pytest.approx(100 / 3, abs=0.01)  # 1× is one of three doublings from 0.5× to 4×
    assert gauge.start == gauge.one
    assert not gauge.good


def test_a_ratio_below_one_grows_to_the_left(benchmark: Benchmark) -> None:
    loses = replace(benchmark, bars=(replace(benchmark.bars[0], value=0.7),))
    gauge = benchmark_page(loses).bars[0].eager
    assert gauge is not None
    assert gauge.start < gauge.one
    assert gauge.start + gauge.width == pytest.approx(gauge.one, abs=0.01)


def test_the_page_says_what_is_slower_and_what_could_not_be_run(benchmark: Benchmark) -> None:
    rows = benchmark_page(benchmark).sections[0].rows
    assert [row.slower for row in rows] == [False, True, False]
    assert rows[1].errors == ("torch.compile: RuntimeError: <no> compiler",)
    assert rows[0].saved == "saves 10 MiB, 0.33× of eager's 30 MiB"
    assert (rows[2].limit, rows[2].saved) == (None, "")


@pytest.mark.parametrize("width", [80, 120])
def test_the_terminal_shows_every_case_bar_and_finding(benchmark: Benchmark, width: int) -> None:
    text = printed(benchmark, width)
    assert all(len(line) <= width for line in text.splitlines())
    flat = " ".join(text.split())
    for words in ("AVX512 (kernels: avx2)", "2.0×", "0.75×", "✗", "✓", "28 GB/s in DRAM", "<no> compiler"):
        assert words in flat
    assert "In 1 of 3 cases what normwise picks is slower than torch eager" in flat
    assert "slower than eager (0.75×): slow" in flat


def test_a_terminal_without_the_signs_gets_others(benchmark: Benchmark) -> None:
    text = printed(benchmark, encoding="ascii")
    assert "2.0x" in text
    assert "BN > ReLU" in text


def test_a_side_that_was_not_asked_for_has_no_column(benchmark: Benchmark) -> None:
    only = replace(FAST, sides=FAST.sides[:2])
    text = printed(replace(benchmark, cases=(only,), bars=(), slower=()))
    assert "compile" not in text
    assert "eager" in text


def test_one_case_is_told_in_a_sentence(benchmark: Benchmark) -> None:
    assert headline(replace(benchmark, cases=(FAST,))) == (
        "Batch normalization → ReLU on 32×64×56×56 (channels_last): 4 ms, 1.8× the memory limit; 2.0× as fast as torch "
        "eager, 1.5× as fast as torch.compile."
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"partial": True}, "interrupted"),
        ({"quick": True}, "quick run"),
        ({"cases": (replace(FAST, others=0.3), SLOW)}, "(up to 30%) while 1 of 2 cases"),
    ],
)
def test_what_may_make_numbers_wrong_is_said_everywhere(
    benchmark: Benchmark, change: dict[str, object], words: str
) -> None:
    doubtful = replace(benchmark, **change)  # type: ignore[arg-type]
    for text in (
        printed(doubtful),
        benchmark_to_html(doubtful),
        benchmark_to_markdown(doubtful),
    ):
        assert words in " ".join(text.split())
    assert words not in printed(benchmark)


def test_a_run_without_cases_has_a_page(benchmark: Benchmark) -> None:
    empty = replace(benchmark, cases=(), bars=(), slower=(), bandwidth=())
    assert "Nothing was measured yet." in benchmark_to_html(empty)
    assert "Nothing was measured yet." in printed(empty)


def test_markdown_has_a_row_for_every_bar_and_case(benchmark: Benchmark) -> None:
    text = benchmark_to_markdown(benchmark)
    assert "| BN → ReLU | torch eager | 1.20× | ≥ 3.0× | 0.75× | 2 of 2 | missed |" in text
    assert "| memory saved by BN | eager, memory | 0.34× | ≤ 0.40× |" in text
    assert text.count("| Batch normalization → ReLU |") == 3
    assert "$ normwise bench --threads 2" in text


@pytest.mark.parametrize("suffix", ["html", "md", "json"])
def test_it_is_written_as_the_suffix_says(benchmark: Benchmark, tmp_path: Path, suffix: str) -> None:
    path = write_benchmark(benchmark, tmp_path / "new" / f"bench.{suffix}")
    text = path.read_text(encoding="utf-8")
    if suffix == "json":
        assert loads(text, Benchmark) == benchmark
    assert len(text) > 1000
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("name", ["bench.pdf", "bench", "."])
def test_another_suffix_or_a_folder_is_refused(benchmark: Benchmark, tmp_path: Path, name: str) -> None:
    with pytest.raises(ArgumentError, match=r"\.html, \.md or \.json"):
        write_benchmark(benchmark, tmp_path / name)
