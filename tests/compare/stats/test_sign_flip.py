import numpy as np
import pytest
from scipy import stats as scipy_stats

from normwise.compare.stats import holm, sign_flip_p


def test_five_pairs_cannot_go_below_a_sixteenth() -> None:
    assert sign_flip_p([1.0, 2.0, 3.0, 4.0, 5.0]) == 0.0625


def test_it_is_scipys_permutation_test() -> None:
    differences = np.random.default_rng(3).normal(0.5, 1.0, 8)
    result = scipy_stats.permutation_test(
        (differences,), np.mean, permutation_type="samples", n_resamples=np.inf
    )
    assert sign_flip_p(differences.tolist()) == pytest.approx(result.pvalue)


def test_a_sample_of_patterns_is_close_to_all_of_them() -> None:
    differences = np.random.default_rng(5).normal(0.5, 1.0, 17)
    again = sign_flip_p(differences.tolist())
    assert again == sign_flip_p(differences.tolist())
    assert again == pytest.approx(scipy_stats.ttest_1samp(differences, 0.0).pvalue, abs=0.03)


def test_holm_steps_down_and_never_passes_one() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []
