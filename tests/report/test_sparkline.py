from __future__ import annotations

from normwise.report.sparkline import bounds, resampled, sparkline


def test_the_better_is_taller() -> None:
    values = [1.0, 2.0, 3.0]
    assert sparkline(values, (1.0, 3.0), higher_is_better=True) in ("▁▄█", "▁▅█")
    assert sparkline(values, (1.0, 3.0), higher_is_better=False)[0] == "█"


def test_what_is_missing_has_a_sign_of_its_own() -> None:
    assert sparkline([None, 1.0, float("nan")], (0.0, 1.0), higher_is_better=True) == "×█×"
    assert sparkline([None], None, higher_is_better=True, gap=" ") == " "


def test_equal_values_are_drawn() -> None:
    assert sparkline([5.0, 5.0], (5.0, 5.0), higher_is_better=True) == "██"


def test_curves_share_their_bounds() -> None:
    assert bounds([[1.0, None], [3.0]]) == (1.0, 3.0)
    assert bounds([[None], []]) is None


def test_resampling_begins_and_ends_with_the_curve() -> None:
    places = resampled((0.0, 4.0, 40.0, 400.0), (0.0, 1.0, 2.0, 3.0), 7)
    assert (places[0], places[-1], len(places)) == (1.0, 3.0, 7)
    assert resampled((), (), 5) == []
