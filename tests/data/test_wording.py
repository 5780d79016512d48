from __future__ import annotations

from hypothesis import given, settings, strategies as st

from normwise.data.wording import natural_key


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.lists(st.text(max_size=6), unique=True))
def test_natural_key_orders_any_words_in_one_way(words: list[str]) -> None:
    backwards = words[::-1]
    assert sorted(words, key=natural_key) == sorted(backwards, key=natural_key)


def test_natural_key_puts_numbers_by_value() -> None:
    assert sorted(["img12", "img2", "IMG3", "img02"], key=natural_key) == ["img02", "img2", "IMG3", "img12"]


def test_natural_key_reads_digits_of_any_script_and_no_others() -> None:
    assert sorted(["²", "٣", "2"], key=natural_key) == ["2", "٣", "²"]
