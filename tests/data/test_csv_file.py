from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from normwise.data.csv_file import read_csv
from normwise.errors import DataError

WriteCsv = Callable[[str], Path]


def test_types_of_columns(write_csv: WriteCsv) -> None:
    path = write_csv(
        "n,dirty,flag,word,when,mixed\n"
        "1, ,true,a,2020-01-02,1\n"
        "NaN,3.5,False,NA,2020-01-03,x\n"
        "1e3,none,,none,2021-01-01,2\n"
    )
    frame, notes = read_csv(path)
    assert notes == ()
    assert frame["n"].to_list() == [1.0, None, 1000.0]
    assert frame["dirty"].to_list() == [None, 3.5, None]
    assert frame["flag"].to_list() == [True, False, None]
    assert frame["word"].to_list() == ["a", None, "none"]
    assert [day.year for day in frame["when"]] == [2020, 2020, 2021]
    assert frame["mixed"].to_list() == ["1", "x", "2"]


def test_quotes_blank_lines_byte_order_mark_and_windows_ends(write_csv: WriteCsv) -> None:
    path = write_csv('\ufeff"a",b\r\n"x, y\nz",1\r\n\r\n"say ""hi""",2\r\n\r\n')
    frame, _ = read_csv(path)
    assert frame.columns == ["a", "b"]
    assert frame.rows() == [("x, y\nz", 1.0), ('say "hi"', 2.0)]


def test_a_blank_header_field_gets_a_name(write_csv: WriteCsv) -> None:
    frame, _ = read_csv(write_csv(",a\n1,2\n"))
    assert frame.columns == ["column 1", "a"]


def test_semicolons_with_decimal_commas(write_csv: WriteCsv) -> None:
    frame, notes = read_csv(write_csv('a;b;c\n"1,5";x,y;3\n2;z;4\n'))
    assert frame.rows() == [(1.5, "x,y", 3.0), (2.0, "z", 4.0)]
    assert notes == ("columns are separated by semicolons",)


@pytest.mark.parametrize(("separator", "name"), [(";", "semicolons"), ("\t", "tabs"), ("|", "bars")])
def test_other_separators(write_csv: WriteCsv, separator: str, name: str) -> None:
    frame, notes = read_csv(write_csv("a,b\n1,x\n".replace(",", separator)))
    assert frame.rows() == [(1.0, "x")]
    assert notes == (f"columns are separated by {name}",)


def test_carriage_returns_alone_end_lines(write_csv: WriteCsv) -> None:
    assert read_csv(write_csv("a,b\r1,x\r2,y\r"))[0].rows() == [(1.0, "x"), (2.0, "y")]


def test_tabs(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text("a\tb;c\n1\t2\n")
    assert read_csv(path)[0].rows() == [(1.0, 2.0)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n1,2,3\n", r"header \(2\). Got 3 fields in line 3. hint: repair the line"),
        ("a,b\n1,2\n\n1\n", r"Got 1 field in line 4"),
        ('a,b\n"x,2\n1,2\n', "well-formed CSV file"),
        ('a,b\n"x"y,2\n', "in line 2"),
        ("a,b,a\n1,2,3\n", "must name its columns. Got 'a' more than once"),
        ("1.5,2\n1,2\n", "Got only numbers .* hint: add a header line"),
        ("a,b\n", "rows below its header. Got the header alone"),
        (" \n\n", "an empty file"),
        ("a,b\n1,\0\n", "a zero byte"),
    ],
)
def test_bad_files(write_csv: WriteCsv, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_csv(write_csv(text))


def test_other_encodings_are_refused_at_their_first_byte(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes("name,b\ncafé,1\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"must be text in UTF-8. Got byte 0xe9 at position 10"):
        read_csv(path)
