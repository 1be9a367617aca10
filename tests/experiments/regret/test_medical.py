"""Medical costs: the losses of the paper's first shuffle, and a whole run with its published table."""

import numpy as np
import pytest

from paper_figures import catalog, claims

# Seed 473, cumulative loss per group in float64: young, middle, old, underweight, healthyweight, overweight, obese,
# smoker, non-smoker, male, female, always_on.
GOLDEN = {
    "loss/baseline": "6.02046493 3.77492301 3.62575861 .20501274 2.51739508 3.18930574 7.50943299 5.92964355 "
                     "7.49150301 6.7764992 6.64464735 13.42114656",
    "loss/anh": "3.90563743 2.30737468 2.7540282 .1465483 1.48068411 2.21675494 5.12305296 2.35889819 6.60814212 "
                "4.5912014 4.37583891 8.96704031",
    "loss/anh_mean_unclipped": "3.68335724 2.04279543 2.49633414 .09803234 1.28246909 2.04044319 4.80154218 1.85350809 "
                               "6.36897872 4.20458649 4.01790032 8.2224868",
    "loss/aa": "3.66415817 2.08690517 2.51991137 .0897029 1.25190309 2.06088373 4.868485 1.94133631 6.32963841 "
               "4.26342571 4.00754901 8.27097472",
}  # fmt: skip
COARSE = {  # fewer digits are known
    "ridge_value": "5.509911 3.483509 3.293954 .09111 1.080586 1.906306 3.854147 1.080424 5.60256 6.247146 6.005356 "
                   "12.237643",
    "logdet": "53.3767 48.1754 46.4447 16.1079 40.1608 45.4952 53.1852 48.8228 65.6434 59.418 59.3051 74.4424",
    "meta_bound/anh_clip": "6.5479 5.6991 4.8992 .8532 2.5529 2.3138 3.176 3.4887 3.1138 7.0251 6.6135 9.3155",
}  # fmt: skip


def numbers(text):
    return np.array([float(word) for word in text.split()])


@pytest.fixture(scope="module")
def double(play):
    return play("medical.py:quick")[1]


#: The forms are compared with each other, and on these data, in `tests/research/regret`.
FORMS = ["blocked", *(pytest.param(form, marks=pytest.mark.slow) for form in ("recursion", "square_root"))]


@pytest.fixture(scope="module", params=FORMS)
def single(play, request):
    return play("medical.py:quick", {"run.replicates": 1, "numerics.x64": False, "algo.form": request.param})[1]


@pytest.mark.parametrize("name", GOLDEN)
def test_losses_of_the_first_shuffle(double, name):
    np.testing.assert_allclose(double[name][-1, 0], numbers(GOLDEN[name]), rtol=0, atol=1e-7)


@pytest.mark.parametrize("name", COARSE)
def test_terms_of_the_bounds_of_the_first_shuffle(double, name):
    np.testing.assert_allclose(double[name][-1, 0], numbers(COARSE[name]), rtol=0, atol=6e-5)


@pytest.mark.parametrize("name", GOLDEN)
def test_losses_of_the_first_shuffle_in_float32(single, name):
    np.testing.assert_allclose(single[name][-1, 0], numbers(GOLDEN[name]), rtol=1e-4)


@pytest.mark.parametrize("name", ["tab_medical_regret", "fig_medical", "fig_intro"])
def test_the_quick_run_agrees_with_the_published_numbers(quick, name):
    (entry,) = catalog.selected(catalog.entries(), [f"regret/{name}"])
    measured = entry.load().claims([quick("medical.py:quick")])
    judged = claims.judge(entry.name, claims.read(entry.expected), measured, "quick")
    assert judged
    assert {one.verdict for one in judged} == {claims.AGREES}


def test_the_run_keeps_a_picture(quick):
    assert (quick("medical.py:quick").path / "figures" / "regret.png").stat().st_size > 10_000
