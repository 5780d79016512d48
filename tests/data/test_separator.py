from __future__ import annotations

import pytest

from normwise.data.separator import find_separator


@pytest.mark.parametrize(
    ("text", "separator"),
    [
        ("a,b\n1,2\n", ","),
        ("a;b\n1,5;2,5\n3,1;4,2\n", ";"),
        ("price, EUR;weight, kg\n1,5;2,0\n2,5;3,0\n", ";"),
        ("a\tb\n1,2\tx; y\n", "\t"),
        ("a|b|c\n1|2|3\n", "|"),
        ('name,note\n"x; y",1\n"z; w; v",2\n', ","),
        ("name,note\nx; y,1\nz,2\n", ","),
        ("alone\n1\n2\n", ","),
        ("a,b;c\n1,2\n3,4\n", ","),
        ("a;b;c\n1;2;3;\n1;2;3;\n", ";"),
    ],
)
def test_the_most_consistent_separator_wins(text: str, separator: str) -> None:
    assert find_separator(text.encode()) == (separator, 0)


def test_excel_says_it() -> None:
    assert find_separator(b"sep=|\na|b\n") == ("|", 1)
    assert find_separator(b"sep=;\r\na,b;c\r\n") == (";", 1)
