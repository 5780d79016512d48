"""A diagnosis in each of its forms: what a reader needs is there, and text of the user's stays text."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

import normwise as nw
from normwise.errors import ArgumentError, StoreError
from normwise.report.diagnosis_github import diagnosis_to_github
from normwise.report.diagnosis_html import diagnosis_to_html
from normwise.report.diagnosis_page import figure
from normwise.report.diagnosis_terminal import diagnosis_to_terminal
from normwise.report.diagnosis_write import write_diagnosis
from normwise.results import Estimate, Interval, loads
from normwise.results.diagnosis import Check, Diagnosis, Evidence, Finding, Proof, Series, Vital

LAYERS = tuple(f"blocks.{i}" for i in range(6))
FLOW = Series("gradient (RMS)", "layers", LAYERS, (1e-6, 1e-5, 1e-4, None, 1e-2, 0.1), log=True)
LOSS = Series("training loss", "steps", ("0", "10", "20"), (2.3, 2.2, 2.3))
PLATEAU = Finding("NW509", "plateau", "", "the loss stands still", 0.5, figures=(LOSS,), remedy="look above")
ROOT = Finding(
    "NW501",
    "vanishing-gradients",
    "blocks.0",
    "the gradient at `blocks.0` is 1e5 times <smaller>",
    0.83,
    (Evidence("decades lost", 5.1, "below 2"), Evidence("update ratio", None, "", "%")),
    (FLOW,),
    "put a norm before each activation",
    ("model, edits = nw.insert(model, 'batch', x)",),
    "changes training",
    tuple(f"blocks.{i}" for i in range(1, 7)),
    (PLATEAU,),
)
BIAS = Finding("NW101", "bias-before-norm", "head", "100 % of the bias, all of it: lost", 1.0)
DIAGNOSIS = Diagnosis(
    "net.py:Net on digits",
    ("structure", "initialization", "batch", "training"),
    (
        Vital("slow?", "yes", "2 % of the loss is gone"),
        Vital("unstable gradients?", "no", "the largest is 1.3 times the median"),
        Vital("sensitive to initialization?", "not measured", "needs a builder"),
    ),
    (ROOT, BIAS),
    (
        Check("NW101", "bias-before-norm", "found"),
        Check("NW102", "norm-on-output", "clear"),
        Check("NW103", "dropout-before-batch-norm", "suppressed", "as in the paper"),
        Check("NW501", "vanishing-gradients", "found"),
        Check("NW402", "constant-features", "not checked", "needs training data (--data)"),
    ),
    notes=("suppressed: NW103 at body (as in the paper)",),
    seconds=2.04,
)
CLEAN = replace(
    DIAGNOSIS,
    findings=(),
    notes=(),
    checks=tuple(replace(c, status="clear", why="") for c in DIAGNOSIS.checks),
)


def effect(value: float | None) -> Estimate:
    return Estimate(
        value, Interval(None if value is None else value - 1, None if value is None else value + 1), 5, "pp"
    )


HELPS = Proof("NW501", "blocks.0", "a norm", "helps", effect(4.0), "accuracy", "no change", 5, 200)
SAME = replace(HELPS, outcome="no difference", effect=effect(0.5))
NEVER = replace(HELPS, outcome="undecided", effect=effect(None), remedy="the model cannot take it")


def terminal(diagnosis: Diagnosis, width: int = 100, encoding: str = "utf-8", verbose: bool = False) -> str:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding)
    diagnosis_to_terminal(diagnosis, Console(file=stream, width=width, color_system=None), verbose=verbose)
    stream.flush()
    return raw.getvalue().decode(encoding)


def test_the_first_screen_has_vitals_then_findings_with_what_follows_below() -> None:
    lines = str(DIAGNOSIS).splitlines()
    assert lines[0] == "net.py:Net on digits"
    assert lines[2] == "slow?                         yes  2 % of the loss is gone"
    assert lines[4] == "sensitive to initialization?  not measured: needs a builder"
    assert lines[6] == "NW501  blocks.0  vanishing-gradients, 83 % sure"
    text = str(DIAGNOSIS)
    assert "decades lost 5.1 (below 2); update ratio not finite" in text
    assert "gradient (RMS) over layers  ▁▂▄×▇█ 1e-6 to 0.1" in text
    assert "also blocks.1, blocks.2, blocks.3, blocks.4 and 2 more" in text
    assert "help: put a norm before each activation (the training becomes another)" in text
    assert "           model, edits = nw.insert(model, 'batch', x)\n" in text
    assert text.index("└ NW509  the training") < text.index("NW101  head")
    assert "2 findings, and 1 more that follows from them; 1 rule suppressed. Looked at: structure," in text


def test_what_was_checked_and_what_not() -> None:
    text = str(DIAGNOSIS)
    assert "Checked 3 rules: 2 of structure, 1 of dynamics" in text
    assert "Suppressed 1, as in the paper: NW103 dropout-before-batch-norm" in text
    assert "Not checked 1, needs training data (--data): 1 of data" in text
    assert "note: suppressed: NW103 at body (as in the paper)" in text
    clean = str(CLEAN)
    assert "Nothing found. Looked at: structure, initialization, batch, training; 2.04 seconds." in clean
    assert "normwise rule" not in clean
    assert "Checked 5 rules: NW101 bias-before-norm, NW102 norm-on-output" in terminal(CLEAN, verbose=True)
    assert "structure, no data; 2.04" in str(replace(CLEAN, measured=("structure",)))


def test_plain_text_and_terminal_say_the_same() -> None:
    words = " ".join(str(DIAGNOSIS).split())
    assert " ".join(terminal(DIAGNOSIS).split()) == words
    assert " ".join(terminal(DIAGNOSIS, width=60).split()) == words
    narrow = terminal(DIAGNOSIS, width=60).splitlines()
    assert max(len(line) for line in narrow if "nw.insert" not in line) <= 60
    assert "no   the largest is 1.3 times" in "\n".join(narrow)


def test_a_terminal_without_the_signs_gets_others() -> None:
    text = terminal(DIAGNOSIS, encoding="ascii")
    assert "124x78 1e-6 to 0.1" in text
    assert "?" not in text.replace("slow?", "").replace("gradients?", "").replace("initialization?", "")


@pytest.mark.parametrize(
    ("values", "log", "drawn"),
    [
        ((1.0, 2.0, 3.0), False, "▁▅█ 1 to 3"),
        ((1.0, None, 0.0), True, "▅×× 1 throughout"),
        ((None,), False, "nothing was measured"),
        (tuple(map(float, range(100))), False, "0 to 99"),
    ],
)
def test_a_series_in_one_line(values: tuple[float | None, ...], log: bool, drawn: str) -> None:
    series = Series("s", "steps", tuple(map(str, range(len(values)))), values, log)
    text = str(replace(DIAGNOSIS, findings=(replace(BIAS, figures=(series,)),)))
    (line,) = [line for line in text.splitlines() if "s over steps" in line]
    assert line.endswith(drawn)
    assert len(line) < 64


def test_many_lines_of_code_are_cut_until_all_are_asked_for() -> None:
    code = tuple(f"layer_{i}.bias = None" for i in range(9))
    long = replace(DIAGNOSIS, findings=(replace(BIAS, code_lines=code),))
    assert "layer_5.bias = None\n           # 3 more like these: --verbose\n" in str(long)
    assert "layer_8" not in str(long)
    assert "layer_8.bias = None" in terminal(long, verbose=True)
    assert "more like these" not in terminal(long, verbose=True)


def test_proofs_are_told_and_so_is_that_none_helps() -> None:
    text = " ".join(str(replace(DIAGNOSIS, proofs=(HELPS, SAME))).split())
    assert "a norm: helps by +4 pp [+3, +5] accuracy against no change; 5 seeds of 200 steps" in text
    assert "No remedy helped" not in text
    text = " ".join(str(replace(DIAGNOSIS, proofs=(SAME, NEVER))).split())
    assert "a norm: no difference: +0.5 pp [-0.5, +1.5]" in text
    assert "the model cannot take it: undecided No remedy helped." in text
    assert "No remedy helped" in diagnosis_to_html(replace(DIAGNOSIS, proofs=(SAME,)))


def test_the_page_needs_nothing_else_and_has_its_figures() -> None:
    page = diagnosis_to_html(replace(DIAGNOSIS, proofs=(HELPS,)))
    assert "<script" not in page
    assert not re.search(r"""(?:src|href)=["'](?!#)|@import|url\((?!#)""", page)
    assert page.count("<svg") == 2
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert "1e5 times &lt;smaller&gt;" in page
    assert "<code>blocks.0</code>" in page
    assert page.count("<details><summary><b>NW509</b>") == 1
    assert "helps by +4 pp" in page
    assert "Nothing found" in diagnosis_to_html(CLEAN)


def test_figures_by_what_they_are_over() -> None:
    (flow,) = figure(FLOW, "f").panels
    assert (flow.y_scale, flow.x_label, flow.series[0].x[0]) == ("log", "layers, blocks.0 to blocks.5", 1.0)
    (loss,) = figure(LOSS, "f").panels
    assert (loss.series[0].x, loss.x_label) == ((0.0, 10.0, 20.0), "steps")
    classes = Series("rows", "classes", ("cat", "dog"), (3.0, 90.0))
    (named,) = figure(classes, "f").panels
    assert (named.categories, named.series[0].mark) == (("cat", "dog"), "dots")
    many = replace(classes, labels=tuple(map(str, range(40))), values=(1.0,) * 40)
    assert figure(many, "f").panels[0].categories == ()


def test_annotations_escape_what_github_reads() -> None:
    first, second = diagnosis_to_github(DIAGNOSIS, "src/a,b.py", 7).splitlines()
    assert first.startswith("::warning file=src/a%2Cb.py,line=7,title=NW501 vanishing-gradients::blocks.0: ")
    assert "%0Aexplains NW509 at the training" in first
    assert "%0Amodel, edits = nw.insert" in first
    assert second.endswith("::head: 100 %25 of the bias, all of it: lost")
    assert diagnosis_to_github(DIAGNOSIS).startswith("::warning title=NW501")
    assert diagnosis_to_github(CLEAN) == ""


def test_files_are_whole_or_not_there(tmp_path: Path) -> None:
    assert (
        loads((write_diagnosis(DIAGNOSIS, tmp_path / "new" / "d.json")).read_bytes(), Diagnosis) == DIAGNOSIS
    )
    assert write_diagnosis(DIAGNOSIS, tmp_path / "d.txt").read_text() == f"{DIAGNOSIS}\n"
    assert nw.report(DIAGNOSIS, tmp_path / "d.txt").read_text() == f"{DIAGNOSIS}\n"
    assert "<html" in write_diagnosis(DIAGNOSIS, tmp_path / "d.HTML").read_text()
    for wrong in (tmp_path / "d.md", tmp_path):
        with pytest.raises(ArgumentError, match=r"\.html, \.json or \.txt"):
            write_diagnosis(DIAGNOSIS, wrong)
    with pytest.raises(StoreError, match="must be written"):
        write_diagnosis(DIAGNOSIS, tmp_path / "d.txt" / "below.json")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["d.HTML", "d.txt", "new"]


def test_json_has_no_surprises() -> None:
    from normwise.results import dumps

    found = json.loads(dumps(DIAGNOSIS))
    assert found["findings"][0]["dependents"][0]["code"] == "NW509"
    assert found["vitals"][0] == {"question": "slow?", "answer": "yes", "detail": "2 % of the loss is gone"}
    assert found["schema"] == 1
