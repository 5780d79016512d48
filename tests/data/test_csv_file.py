from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from normwise.data.csv_file import read_csv
from normwise.errors import DataError

WriteCsv = Callable[[str], Path]


def test_quotes_blank_lines_byte_order_mark_and_windows_ends(write_csv: WriteCsv) -> None:
    path = write_csv('\ufeff"a",b\r\n"x, y\nz",1\r\n\r\n"say ""hi""",2\r\n\r\n')
    frame, _, _ = read_csv(path)
    assert frame.columns == ["a", "b"]
    assert frame.rows() == [("x, y\nz", "1"), ('say "hi"', "2")]


def test_a_blank_header_field_gets_a_name(write_csv: WriteCsv) -> None:
    frame, _, _ = read_csv(write_csv(",a\n1,2\n"))
    assert frame.columns == ["column 1", "a"]


@pytest.mark.parametrize(("separator", "name"), [(";", "semicolons"), ("\t", "tabs"), ("|", "bars")])
def test_other_separators(write_csv: WriteCsv, separator: str, name: str) -> None:
    frame, found, notes = read_csv(write_csv("a,b\n1,x\n".replace(",", separator)))
    assert (frame.rows(), found) == ([("1", "x")], separator)
    assert notes == (f"columns are separated by {name}",)


def test_carriage_returns_alone_end_lines(write_csv: WriteCsv) -> None:
    assert read_csv(write_csv("a,b\r1,x\r2,y\r"))[0].rows() == [("1", "x"), ("2", "y")]


def test_tabs(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text("a\tb;c\n1\t2\n")
    frame, _, notes = read_csv(path)
    assert frame.rows() == [("1", "2")]
    assert notes == ()


def test_the_line_of_excel_names_the_separator(write_csv: WriteCsv) -> None:
    frame, separator, _ = read_csv(write_csv("sep=;\r\na,b;c\r\n1;2\r\n"))
    assert (separator, frame.columns, frame.rows()) == (";", ["a,b", "c"], [("1", "2")])
    with pytest.raises(DataError, match="Got 1 field in line 3"):
        read_csv(write_csv("sep=;\na;b\n1\n"))


def test_a_separator_at_the_end_of_lines(write_csv: WriteCsv) -> None:
    frame, _, _ = read_csv(write_csv("a,b\n1,2,\n3,4,\n"))
    assert (frame.columns, frame["a"].to_list()) == (["a", "b", "column 3"], ["1", "3"])
    frame, _, _ = read_csv(write_csv("a,b,\n1,2\n3,4\n"))
    assert (frame.columns, frame["b"].to_list()) == (["a", "b"], ["2", "4"])


def test_a_header_without_a_name_for_the_row_names(write_csv: WriteCsv) -> None:
    frame, _, _ = read_csv(write_csv('"mpg","cyl"\n"Mazda",21,6\n"Fiat",32,4\n'))
    assert (frame.columns, frame["mpg"].to_list()) == (["column 1", "mpg", "cyl"], ["21", "32"])


def test_quotes_in_the_middle_of_a_field(write_csv: WriteCsv) -> None:
    frame, _, _ = read_csv(write_csv('size,n\n5" pipe,1\n12",2\n7,3\n'))
    assert frame.rows() == [('5" pipe', "1"), ('12"', "2"), ("7", "3")]


def _long(*wrong: tuple[int, str], rows: int = 300) -> str:
    lines = ["a,b", *(f"{index},x" for index in range(rows))]
    for number, text in wrong:
        lines[number - 1] = text
    return "\n".join(lines) + "\n"


def test_a_few_ragged_lines_are_left_out_and_named(write_csv: WriteCsv) -> None:
    text = _long((7, "1"), (18, "1,2,3"), (205, '"1\n2",3,4'))
    frame, _, notes = read_csv(write_csv(text))
    assert frame.height == 297
    assert frame["a"].to_list()[4:7] == ["4", "6", "7"]
    assert notes == ("3 lines with more or fewer fields than the header left out: lines 7, 18, 205",)


def test_more_ragged_lines_are_an_error(write_csv: WriteCsv) -> None:
    text = _long((7, "1"), (18, "1,2,3"), (205, "1"), (9, "2"))
    with pytest.raises(DataError, match=r"Got 1 field in line 7, and 3 more such lines. hint"):
        read_csv(write_csv(text))


def test_blank_and_empty_lines_are_no_rows(write_csv: WriteCsv) -> None:
    frame, _, notes = read_csv(write_csv("\n\na,b\n1,2\n\n,\n3,4\n\n"))
    assert frame.rows() == [("1", "2"), ("3", "4")]
    assert notes == ("1 row without any value dropped",)


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
