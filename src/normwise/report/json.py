"""The report as JSON: the comparison itself, its sentences, and every figure with its numbers."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from typing import Any

from normwise.report.build import build
from normwise.results import Comparison, dumps


def to_json(comparison: Comparison) -> str:
    """Return the report as JSON text with the keys `comparison`, `sentences`, `figures` and `document`.

    `normwise.results.loads(json.dumps(parsed["comparison"]), Comparison)` gives the record back.
    """
    document = build(comparison)
    whole = _clean(asdict(document))
    report = {
        "comparison": json.loads(dumps(comparison)),
        "answers": [
            {"setting": answer.setting, "sentence": answer.sentence, "aside": answer.aside}
            for answer in document.answers
        ],
        "sentences": [_clean(asdict(line)) for line in document.claim_lines()],
        "figures": [_clean(asdict(figure)) for figure in document.figures()],
        "document": _without_figures(whole),
    }
    return json.dumps(report, ensure_ascii=False, allow_nan=False)


def _without_figures(value: Any) -> Any:
    """Replace figures, which stand under their own key, by a reference to their id."""
    if isinstance(value, dict):
        if value.get("kind") == "figure":
            return {"kind": "figure", "id": value["id"]}
        return {key: _without_figures(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_figures(item) for item in value]
    return value


def _clean(value: Any) -> Any:
    """Write numbers that JSON cannot hold as null."""
    if isinstance(value, dict):
        return {key: _clean(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
