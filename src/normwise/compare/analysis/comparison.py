"""The whole answer, from the settings."""

from __future__ import annotations

import platform
import statistics
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any

from normwise.compare.analysis.more_seeds import more_seeds
from normwise.compare.measures import Measure
from normwise.compare.spec import Spec
from normwise.compare.splits import FINAL_ROWS
from normwise.compare.stats import wilson
from normwise.data import Dataset
from normwise.kernels.cpu import library
from normwise.kernels.registry import requested
from normwise.report.names import metric_name
from normwise.results import (
    Comparison,
    DataSummary,
    GradientProbe,
    Reproduction,
    Setting,
    TrialRecord,
)

REGRESSION_MARGIN = 0.01
PACKAGES = ("normwise", "torch", "numpy", "scipy", "scikit-learn", "polars", "pillow", "kornia")


def margin_of(spec: Spec, measure: Measure, errors: Sequence[float]) -> float:
    """The margin asked for, the metric's own, or one per cent of the baseline's error."""
    if spec.margin is not None:
        return spec.margin
    if measure.margin is not None:
        return measure.margin
    return REGRESSION_MARGIN * (statistics.median(errors) if errors else 1.0)


def summarize_data(
    data: Dataset,
    sizes: tuple[int, int, int],
    split_notes: tuple[str, ...],
    measure: Measure,
    metric_reason: str,
    margin: float,
    level: float | None,
) -> DataSummary:
    """The data as it was understood, and whether its test part can resolve the margin."""
    why = (f"metric {metric_name(measure.name)}, {metric_reason}",) if metric_reason else ()
    return DataSummary(
        name=data.name,
        source=data.source,
        task=data.task,
        task_reason=data.task_reason,
        rows=data.rows,
        inputs=data.inputs,
        classes=data.classes,
        target=data.target,
        metric=measure.name,
        metric_unit=measure.unit if measure.unit != "target" else f"units of {data.target}",
        higher_is_better=measure.sign > 0,
        split=sizes,
        notes=(*why, *data.notes, *split_notes, *_reading(dict(zip(FINAL_ROWS, sizes, strict=True)))),
        margin=margin,
        margin_note=_margin_note(measure, min(sizes[2], FINAL_ROWS["test"]), margin, level),
        fixed_parts=data.fixed_parts,
        warnings=(*data.warnings, *_small_parts(sizes)),
    )


FEWEST_TO_SEE = 30


def _small_parts(sizes: tuple[int, int, int]) -> tuple[str, ...]:
    """Say so where a part is too small for anything but a very large effect."""
    small = [
        f"{rows} {name} row{'s' * (rows > 1)}"
        for rows, name in zip(sizes[1:], ("validation", "test"), strict=True)
        if rows < FEWEST_TO_SEE
    ]
    if not small:
        return ()
    return (f"a split has only {' and '.join(small)}: only very large effects can be seen with so few",)


def _reading(sizes: Mapping[str, int]) -> tuple[str, ...]:
    """Say so where metrics do not read a part whole."""
    cut = [
        f"{rows:,} of {sizes[part]:,} {part} rows" for part, rows in FINAL_ROWS.items() if sizes[part] > rows
    ]
    return (f"metrics after training read {', '.join(cut)}, drawn by the seed",) if cut else ()


def _margin_note(measure: Measure, rows: int, margin: float, level: float | None) -> str:
    if measure.unit != "%" or level is None:
        return ""
    inside = wilson(min(max(level / 100, 0.0), 1.0) * rows, rows)
    half = 50 * ((inside.high or 0.0) - (inside.low or 0.0))
    row = 100 / rows
    text = (
        f"One row of the test part of {rows:,} is {row:.2g} pp; "
        f"sampling alone moves one split by ±{half:.2g} pp."
    )
    if row > margin:
        return f"{text} The test part is too small to resolve the margin of ±{margin:g} pp within one seed."
    return text


def machine() -> dict[str, str]:
    """What the numbers were measured on."""
    import torch

    return {
        "system": f"{platform.system()} {platform.release()}",
        "processor": platform.processor() or platform.machine(),
        "python": platform.python_version(),
        "vector instructions": torch.backends.cpu.get_cpu_capability(),
    }


def versions() -> dict[str, str]:
    """Installed versions of everything that the numbers depend on, and the kernels that run on this machine.

    Another instruction set rounds otherwise, torch's operators drop other elements, and the two bindings leave other
    calls to them.
    """
    found = {}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    backend, isa = requested(), library.isa()
    if backend == "aten" or isa is None:
        return found | {"kernels": "torch's operators"}
    native = backend != "portable" and library.native() is not None
    return found | {"kernels": f"{'native' if native else 'portable'}, {isa}"}


def trial_row(key: str, record: TrialRecord) -> dict[str, str | float | int | None]:
    """A trial as one flat row."""
    last = record.evaluations[-1] if record.evaluations else None
    return {
        **record.description,
        "outcome": record.outcome,
        "train": None if last is None else last.train_metric,
        "validation": None if last is None else last.validation_metric,
        "test": None if last is None else last.test_metric,
        "seconds": None if last is None else round(last.seconds, 4),
        "error": record.error,
        "key": key,
    }


def assemble(
    *,
    question: str,
    data: DataSummary,
    settings: Sequence[Setting],
    probe: GradientProbe | None,
    records: Mapping[str, TrialRecord],
    planned: int,
    reproduction: Mapping[str, Any],
    **more: Any,
) -> Comparison:
    """Put the answer together; `more` are fields of `Comparison` that pass through."""
    rows = sorted(
        (trial_row(key, record) for key, record in records.items()),
        key=lambda row: tuple(
            str(row.get(column)) for column in ("setting", "variant", "initialization", "lr", "seed")
        ),
    )
    return Comparison(
        question=question,
        data=data,
        settings=tuple(settings),
        probe=probe,
        reproduction=Reproduction(**reproduction),
        trials=tuple(rows),
        planned=planned,
        finished=len(records),
        failed=sum(record.outcome == "raised" for record in records.values()),
        partial=len(records) < planned,
        more_seeds=more_seeds(
            settings, str(reproduction["command"]), exploratory=bool(more.get("exploratory"))
        ),
        **more,
    )
