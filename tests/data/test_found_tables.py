"""Whole tables as they are found: read, described and split."""

from __future__ import annotations

import gzip
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from normwise.data import Dataset, load
from normwise.errors import DataError, UnknownNameError

RANDOM = np.random.default_rng(0)


def _write(path: Path, columns: dict[str, Any], separator: str = ",", encoding: str = "utf-8") -> str:
    frame = pl.DataFrame(columns, strict=False)
    path.write_bytes(frame.write_csv(separator=separator).encode(encoding))
    return str(path)


def _plain(rows: int = 200, **more: Any) -> dict[str, Any]:
    x = np.random.default_rng(1).normal(size=rows)
    z = np.random.default_rng(2).normal(size=rows)
    return {"x": x, "z": z, **more, "y": np.where(x + z > 0, "yes", "no")}


def _rows_of(data: Dataset, seed: int) -> list[set[tuple[float, ...]]]:
    split = data.split(seed)
    return [set(map(tuple, part.inputs.tolist())) for part in (split.train, split.validation, split.test)]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "gbk"])
def test_chinese_headers_and_words_in_every_encoding(tmp_path: Path, encoding: str) -> None:
    rows = 60
    columns = {
        "年龄": RANDOM.integers(20, 60, rows),
        "城市": [["北京", "上海", "广州"][index % 3] for index in range(rows)],
        "会员": [["是", "否"][index % 2] for index in range(rows)],
        "流失": [["已流失", "留存"][index // 2 % 2] for index in range(rows)],
    }
    data = load(_write(tmp_path / "客户.csv", columns, encoding=encoding), target="流失", drop=["年龄"])
    assert (data.name, data.target, sorted(data.classes)) == ("客户", "流失", ["已流失", "留存"])
    assert data.inputs == "1 numeric and 1 categorical column"
    assert data.split(0).in_shape == (4,)


def test_names_in_another_unicode_form(tmp_path: Path) -> None:
    columns = _plain()
    columns["é"] = columns.pop("y")
    path = _write(tmp_path / "a.csv", columns)
    assert load(path, target=unicodedata.normalize("NFD", "é")).target == "é"
    assert load(path, target=" é ").target == "é"


def test_a_european_export(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    lines = ["sep=;", "Preis;Menge;Rabatt;Umsatz"]
    lines += [f"€ {index + 1}.250,50;{index},5;{index % 7}%;{index * 3},25" for index in range(40)]
    path.write_bytes("\r\n".join(lines).encode("cp1252"))
    data = load(str(path), target="Umsatz")
    assert (data.task, data.inputs) == ("regression", "3 numeric columns")
    split = data.split(0)
    own = split.test.targets.double() * split.target_std + split.target_mean
    assert {round(value, 3) for value in own.tolist()} <= {index * 3 + 0.25 for index in range(40)}
    assert data.notes[-6:] == (
        "decimal commas understood: 'Umsatz', 'Preis', 'Menge'",
        "thousands separators taken out: 'Preis'",
        "percent signs taken off: 'Rabatt'",
        "currency signs taken off: 'Preis'",
        "the text is no UTF-8 and was read as Windows-1252 (Latin-1)",
        "columns are separated by semicolons",
    )


def test_gzipped_text_and_parquet_give_the_same_data(tmp_path: Path) -> None:
    columns = _plain()
    plain = load(_write(tmp_path / "a.csv", columns), target="y")
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress((tmp_path / "a.csv").read_bytes()))
    pl.DataFrame(columns).write_parquet(tmp_path / "a.parquet")
    _write(tmp_path / "a.txt", columns, separator="\t")
    for name in ("a.csv.gz", "a.parquet", "a.txt"):
        assert load(str(tmp_path / name), target="y").fingerprint == plain.fingerprint
    assert load(str(tmp_path / "a.csv.gz"), target="y").name == "a"


def test_words_of_a_parquet_file_are_read_like_those_of_text(tmp_path: Path) -> None:
    columns = _plain(
        money=[f"${index},000" for index in range(1, 201)], day=["2024-01-31", "2024-03-01"] * 100
    )
    pl.DataFrame(columns).write_parquet(tmp_path / "a.parquet")
    data = load(str(tmp_path / "a.parquet"), target="y")
    assert data.inputs.endswith("numeric columns")
    assert "currency signs taken off: 'money'" in data.notes


def test_what_became_of_columns_is_said_most_important_first(tmp_path: Path) -> None:
    rows = 120
    columns = _plain(
        rows,
        id=range(rows),
        customer=[f"c-{index}" for index in range(rows)],
        age=[str(index % 50) if index % 30 else "unknown" for index in range(rows)],
        joined=[f"{1 + index % 28}.{1 + index % 12}.2023" for index in range(rows)],
        same=["x"] * rows,
    )
    columns["y"] = [value if index % 40 else "" for index, value in enumerate(columns["y"])]
    data = load(_write(tmp_path / "a.csv", columns), target="y")
    assert data.rows == 117
    assert [note.split(":")[0] for note in data.notes] == [
        "3 rows without a value of the target 'y' dropped",
        "dropped as identifiers",
        "dropped as constant",
        "words among numbers or dates became missing values",
        "read as dates, in days since 1970-01-01",
        "dates in numbers alone taken as",
    ]
    assert "'id' (whole numbers, all different), 'customer'" in data.notes[1]


def test_three_hundred_columns_make_short_notes(tmp_path: Path) -> None:
    rows, columns = 80, _plain(80)
    for index in range(100):
        columns[f"n{index}"] = RANDOM.normal(size=rows)
        columns[f"constant {index}"] = ["same"] * rows
        columns[f"word {index}"] = RANDOM.choice(["a", "b", "c"], rows)
    data = load(_write(tmp_path / "wide.csv", columns), target="y")
    assert data.inputs == "102 numeric and 100 categorical columns"
    notes = (*data.notes, *data.split(0).notes)
    assert len(notes) <= 4
    assert max(map(len, notes)) < 200
    assert (
        "dropped as constant: 'constant 0', 'constant 1', 'constant 2', 'constant 3', 'constant 4' and 95 more"
        in notes
    )


def test_copies_of_a_row_stay_in_one_part(tmp_path: Path) -> None:
    columns = {name: np.concatenate([values, values[:60]]) for name, values in _plain(150).items()}
    data = load(_write(tmp_path / "a.csv", columns), target="y")
    assert (
        "60 rows have the inputs of an earlier row; equal rows stay in one part of every split" in data.notes
    )
    assert data.warnings == ()
    for seed in range(3):
        train, validation, test = _rows_of(data, seed)
        assert not train & validation
        assert not train & test
        assert not validation & test


def test_copies_with_another_target_are_warned_of(tmp_path: Path) -> None:
    columns = {name: np.concatenate([values, values[:4]]) for name, values in _plain(150).items()}
    columns["y"][-2:] = np.where(columns["y"][-2:] == "yes", "no", "yes")
    data = load(_write(tmp_path / "a.csv", columns), target="y")
    assert data.warnings == (
        "4 rows have the inputs of another row and a different target: no model can get all of them right",
    )


def test_hardly_any_copies_with_another_target_are_a_note(tmp_path: Path) -> None:
    columns = {name: np.concatenate([values, values[:1]]) for name, values in _plain(150).items()}
    columns["y"][-1:] = np.where(columns["y"][-1:] == "yes", "no", "yes")
    data = load(_write(tmp_path / "a.csv", columns), target="y")
    assert data.warnings == ()
    assert any(
        note.startswith("2 rows have the inputs of another row and a different") for note in data.notes
    )


def test_rows_of_few_different_inputs_are_no_copies(tmp_path: Path) -> None:
    columns = {"a": np.arange(300) % 3, "b": np.arange(300) % 2, "y": RANDOM.choice(["u", "v"], 300)}
    data = load(_write(tmp_path / "a.csv", columns), target="y")
    assert data.warnings == ()
    assert (
        "294 rows have the inputs of an earlier row (6 different inputs in all); equal rows are dealt like all others"
        in data.notes
    )
    assert [len(part.targets) for part in (data.split(0).train, data.split(0).test)] == [180, 60]


def test_a_column_that_gives_the_target_away(tmp_path: Path) -> None:
    columns = _plain()
    columns["refund"] = np.where(columns["y"] == "yes", 5.0, 0.0) + RANDOM.random(200)
    path = _write(tmp_path / "a.csv", columns)
    data = load(path, target="y")
    assert len(data.warnings) == 1
    assert data.warnings[0].startswith("'refund' alone predicts the target")
    assert load(path, target="y", drop=["refund"]).warnings == ()


def test_imbalance_is_counted_and_lonely_classes_left_out(tmp_path: Path) -> None:
    columns = _plain()
    columns["y"] = ["rare"] * 8 + ["common"] * 191 + ["once"]
    data = load(_write(tmp_path / "a.csv", columns), target="y")
    assert dict(zip(data.classes, data.class_counts, strict=True)) == {"common": 191, "rare": 8}
    assert sorted(data.warnings) == [
        "1 class of the target has fewer than 10 rows: 'rare' (8), too few to tell how well they are predicted",
        "1 class of the target with a single row left out: 'once'",
    ]


def test_groups_stay_in_one_part_and_are_no_input(tmp_path: Path) -> None:
    columns = _plain(patient=np.arange(200) // 5 + RANDOM.integers(0, 2))
    columns["z"] = columns["patient"] * 1.0
    data = load(_write(tmp_path / "a.csv", columns), target="y", group="patient")
    assert data.inputs == "2 numeric columns"
    assert data.notes == ("rows with the same 'patient' stay in one part (40 groups); it is no input",)
    for seed in range(3):
        parts = [{round(row[1], 4) for row in rows} for rows in _rows_of(data, seed)]
        assert not parts[0] & parts[1]
        assert not parts[0] & parts[2]
        assert not parts[1] & parts[2]


def test_rows_without_a_group_are_groups_of_their_own(tmp_path: Path) -> None:
    columns = _plain(patient=["" if index % 2 else f"p{index % 10}" for index in range(200)])
    data = load(_write(tmp_path / "a.csv", columns), target="y", group="patient")
    assert "(105 groups)" in data.notes[0]


def test_time_splits_oldest_to_newest_whatever_the_seed(tmp_path: Path) -> None:
    days = [f"2024-{1 + index // 28:02d}-{1 + index % 28:02d}" for index in range(200)]
    order = np.random.default_rng(3).permutation(200)
    columns = _plain()
    columns["x"] = order * 1.0
    columns["when"] = [days[index] for index in order]
    columns["when"][4] = ""
    data = load(_write(tmp_path / "a.csv", columns), target="y", time="when")
    assert data.rows == 199
    assert data.inputs == "4 numeric columns"
    assert data.notes == (
        "1 row without a value of 'when' dropped",
        "split by 'when': the oldest rows train, later ones validate, the newest test; every seed has the same split",
        "inputs taken from the column that orders the rows: 'when' (weekday)",
    )
    for seed in (0, 5):
        train, validation, test = ([row[0] for row in part] for part in _rows_of(data, seed))
        assert max(train) < min(validation) < max(validation) < min(test)
    assert [len(part) for part in _rows_of(data, 0)] == [119, 40, 40]


def test_a_table_of_test_rows(tmp_path: Path) -> None:
    columns, others = _plain(), _plain(40)
    columns["word"], others["word"] = ["a", "b"] * 100, ["a", "new"] * 20
    others["x"] += 0.001
    others["x"][:3], others["word"][:3] = columns["x"][:3], columns["word"][:3]
    others["z"][:3] = columns["z"][:3]
    path = _write(tmp_path / "train.csv", columns)
    test = _write(tmp_path / "test.csv", dict(reversed(others.items())), separator=";")
    data = load(path, target="y", test_data=test)
    assert data.rows == 240
    assert data.notes[0] == "the 40 rows of test.csv are the test part of every split"
    assert data.warnings == ("3 rows of test.csv have the inputs of a training row",)
    split = data.split(1)
    assert [len(part.targets) for part in (split.train, split.validation, split.test)] == [150, 50, 40]
    assert torch.isfinite(split.test.inputs).all()
    assert "validation or test have words that training does not: 'word (1 value)'" in split.notes
    assert data.fingerprint != load(path, target="y").fingerprint


def test_a_test_table_older_than_training_is_warned_of(tmp_path: Path) -> None:
    path = _write(tmp_path / "train.csv", _plain(step=range(100, 300)))
    test = _write(tmp_path / "test.csv", {**_plain(40, step=range(40)), "x": RANDOM.normal(size=40)})
    data = load(path, target="y", time="step", test_data=test)
    assert any("the test rows begin before the last training row" in warning for warning in data.warnings)


def test_extremes_of_a_quantity_are_told_and_units_stay(tmp_path: Path) -> None:
    columns = _plain()
    columns["y"] = [*RANDOM.normal(size=198).round(3), 1e6, -5e5]
    data = load(_write(tmp_path / "a.csv", columns), target="y")
    assert data.notes == (
        "2 values of the target 'y' lie more than 10 interquartile ranges from the median "
        "(all run from -500,000 to 1,000,000); such rows weigh most in squared errors",
    )
    split = data.split(0)
    assert split.target_std > 1000


def test_a_numeric_target_with_unknown_values(tmp_path: Path) -> None:
    columns = _plain()
    columns["y"] = [str(value) for value in RANDOM.normal(size=198)] + ["unknown", "-"]
    data = load(_write(tmp_path / "a.csv", columns), target="y")
    assert (data.task, data.rows) == ("regression", 198)
    assert data.notes[0] == "2 rows without a value of the target 'y' dropped"


def test_columns_of_known_tables_and_arrays_can_be_dropped(tmp_path: Path) -> None:
    assert load("wine", drop=["alcohol"]).inputs == "12 numeric columns"
    np.savez(tmp_path / "a.npz", x=RANDOM.normal(size=(20, 3)), y=np.arange(20) % 2)
    assert load(str(tmp_path / "a.npz"), drop=["column 2"]).inputs == "2 numeric columns"


def test_classes_that_look_alike_are_warned_of(tmp_path: Path) -> None:
    columns = _plain()
    columns["y"] = ["Yes", "yes", "no", "maybe"] * 50
    data = load(_write(tmp_path / "a.csv", columns), target="y")
    assert data.warnings == ("classes that look alike are taken for different ones: 'Yes' and 'yes'",)


def test_many_small_classes_are_searched_for_leaks_quietly(tmp_path: Path) -> None:
    columns = _plain(100)
    columns["y"] = [f"c{index % 45}" for index in range(100)]
    warnings = load(_write(tmp_path / "a.csv", columns), target="y").warnings
    assert len(warnings) == 1
    assert warnings[0].startswith("45 classes of the target have fewer than 10 rows: ")


def test_a_target_that_counts_the_rows_is_warned_of(tmp_path: Path) -> None:
    columns = _plain()
    columns["y"] = list(range(1, 201))
    data = load(_write(tmp_path / "a.csv", columns), target="y")
    assert data.warnings == (
        "the target 'y' only counts the rows, 1 to 200: choose another column, "
        "unless their order is to be predicted",
    )


def test_a_dropped_identifier_is_not_said_to_be_read(tmp_path: Path) -> None:
    columns = _plain()
    columns["ticket"] = [f"PC {index}" if index % 4 == 0 else str(index) for index in range(200)]
    columns["y"] = ["a", "b"] * 100
    notes = load(_write(tmp_path / "a.csv", columns), target="y").notes
    assert notes == ("dropped as identifiers: 'ticket' (200 different values in 200, such as 'PC 0')",)


def test_a_first_row_without_names_is_suspected(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("".join(f"5.{row},3.5,1.4,setosa\n" for row in range(20)))
    with pytest.raises(UnknownNameError, match="these look like values; add a header line"):
        load(str(path), target="species")


def test_a_number_of_nines_far_from_all_others_is_told(tmp_path: Path) -> None:
    columns = _plain()
    columns["x"][:30] = -999
    notes = load(_write(tmp_path / "a.csv", columns), target="y").notes
    assert notes == (
        "kept as a number, though it looks like a code for missing values (leave such fields empty): "
        "'x' (-999 in 30 rows)",
    )


def test_rows_that_repeat_the_header_are_dropped(tmp_path: Path) -> None:
    path = Path(_write(tmp_path / "a.csv", _plain()))
    path.write_bytes(path.read_bytes() * 2)
    data = load(str(path), target="y")
    assert (data.rows, data.inputs) == (400, "2 numeric columns")
    assert "1 row that only repeats the header dropped" in data.notes


def test_a_time_without_cycles_is_no_input(tmp_path: Path) -> None:
    columns = _plain(visit=np.arange(200) // 3)
    notes = load(_write(tmp_path / "a.csv", columns), target="y", time="visit").notes
    assert "no input, as it orders the rows: 'visit'" in notes


def test_full_width_separators_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("姓名，年龄，结果\n" + "张，20，是\n" * 30)
    with pytest.raises(DataError, match="replace the full-width ， by a comma"):
        load(str(path), target="结果")
