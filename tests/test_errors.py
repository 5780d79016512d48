import pytest

from normwise import errors
from normwise._optional import require


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [
        (errors.ArgumentError, ValueError),
        (errors.DataError, ValueError),
        (errors.UnknownNameError, LookupError),
        (errors.StoreError, RuntimeError),
        (errors.MissingPackageError, ImportError),
    ],
)
def test_every_error_is_ours_and_the_builtin_it_resembles(
    kind: type[Exception], builtin: type[Exception]
) -> None:
    assert issubclass(kind, errors.NormwiseError)
    assert issubclass(kind, builtin)


def test_an_unknown_name_lists_the_nearest_and_all_known() -> None:
    message = str(errors.unknown_name("compare", "data set", "digit", ["wine", "digits"]))
    assert "Did you mean 'digits'?" in message
    assert message.endswith("Known: digits, wine.")


def test_a_name_like_nothing_known_gets_no_guess() -> None:
    assert "Did you mean" not in str(errors.unknown_name("compare", "data set", "qqqq", ["wine"]))


def test_a_missing_package_names_its_extra() -> None:
    with pytest.raises(errors.MissingPackageError, match=r'pip install "normwise\[compare\]"'):
        require("a_package_that_is_not_there", extra="compare", who="the report")


def test_a_present_package_is_returned() -> None:
    assert require("json.decoder", extra="compare", who="a test").JSONDecoder is not None
