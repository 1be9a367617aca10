"""The schedules of Algorithm 1 and its certificate, against numbers worked out elsewhere."""

import math

import jax.numpy as jnp
import numpy as np
import pytest

from research.halpern import bounds, schedules


def test_worked_schedule_of_sixteen_components(x64):
    k = jnp.arange(8)
    np.testing.assert_allclose(schedules.page_anchor(k)[:6], [1 / 2, 2 / 5, 1 / 3, 2 / 7, 1 / 4, 2 / 9], rtol=1e-15)
    chance = schedules.refresh_probability(k, schedules.page_refresh(16))
    np.testing.assert_allclose(chance, [1, 1, 2 / 3, 4 / 7, 1 / 2, 4 / 9, 4 / 9, 4 / 9], rtol=1e-15)
    assert schedules.batch_size(16) == schedules.batch_size(16, certified=False) == 4
    assert schedules.batch_size(500, certified=False) == 22
    assert schedules.batch_size(500) == 23


@pytest.mark.parametrize("n", [1, 2, 3])
def test_few_components_are_evaluated_in_full(n):
    np.testing.assert_array_equal(schedules.refresh_probability(jnp.arange(50), schedules.page_refresh(n)), np.ones(50))


@pytest.mark.parametrize(
    ("n", "batch", "scaled", "margin"),
    [(16, 4, 0.25, 0.41567), (16, 4, 0.5, 0.83134), (100, 10, 0.5, 0.73653), (10**4, 100, 0.5, 0.66885),
     (10**4, 100, 0.7, 0.93639)],
)  # fmt: skip
def test_worked_margins(n, batch, scaled, margin):
    np.testing.assert_allclose(schedules.page_margin(n, batch, scaled), margin, rtol=1e-5)


def test_largest_certified_steps():
    published = {4: 0.518, 25: 0.628, 100: 0.679, 400: 0.703, 10**4: 0.747}
    for n, limit in published.items():
        assert abs(schedules.certified_limit(n, schedules.batch_size(n)) - limit) < 1e-3
    assert schedules.certified_limit(10**6, 1000) >= 0.74


def test_half_is_certified_with_the_rounded_up_batch_and_not_quite_with_the_papers():
    sizes = range(4, 130)
    assert all(schedules.page_margin(n, schedules.batch_size(n), 0.5) <= 1 for n in sizes)
    short = [n for n in sizes if schedules.page_margin(n, schedules.batch_size(n, certified=False), 0.5) > 1]
    assert short == [6, 7, 8]


def test_the_margin_is_the_recursion_written_out():
    """Term by term as the potential's inequalities state it, at a share of Young's inequality fixed per candidate."""
    n, b, scaled = 25, 5, 0.6
    last = 400
    p = [1, 1] + [max(4 / (k + 4), 4 / 10) for k in range(2, last + 2)]
    kept = [scaled * (k + 3) * (k + 4) * (k + 6) / 4 for k in range(last + 2)]
    room = [(k + 2) * (k + 3) * (k + 4) / 2 for k in range(last + 2)]
    margins = []
    for s in np.geomspace(0.05, 4, 40):
        a = [0.0] * (last + 2)
        a[last + 1] = 1.2 * kept[last] * (1 + 1 / s) / p[last]
        for k in range(last, 0, -1):
            a[k] = a[k + 1] * (1 - p[k + 1]) + (p[k] < 1) * kept[k] * (1 + 1 / s)
        margins.append(
            max(
                max(kept[k] * (1 + s * (p[k] < 1)), a[k + 1] * (1 - p[k + 1]) / b) / room[k] for k in range(1, last + 1)
            )
        )
    np.testing.assert_allclose(schedules.page_margin(n, b, scaled), min(margins), rtol=1e-12)
    np.testing.assert_allclose(
        schedules.page_margin(n, np.full(last + 2, b), scaled, probabilities=np.array(p)), min(margins), rtol=1e-12
    )


def test_distinct_draws_certify_more_and_full_batches_as_much_as_full_evaluations():
    assert schedules.page_margin(25, 5, 0.5, replace=False) < schedules.page_margin(25, 5, 0.5)
    full = schedules.page_margin(25, 25, 1.0)
    np.testing.assert_allclose(full, 7 / 6, rtol=1e-12)  # T_1 / R_1, the deterministic iteration
    np.testing.assert_allclose(schedules.page_margin(3, 2, 1.0), 7 / 6, rtol=1e-12)


def test_a_longer_recursion_certifies_the_same():
    """The end of the recursion is a guess, 1.2 times the stationary weight: it must not decide."""
    n, b = 100, 10
    p = np.array([1, 1] + [max(4 / (k + 4), 4 / 15) for k in range(2, 5002)])
    np.testing.assert_allclose(
        schedules.page_margin(n, np.full(len(p), b), 0.5, probabilities=p), schedules.page_margin(n, b, 0.5), rtol=2e-3
    )


def test_expected_calls_of_the_papers_schedule(x64):
    """n (2 + about 4 ln((sqrt n + 5) / 6)) until the probabilities are constant, then about 6 sqrt(n) an iteration."""
    n, last = 10**4, 20_000
    chance = schedules.refresh_probability(jnp.arange(last), schedules.page_refresh(n))
    calls = np.asarray(bounds.page_calls(chance, n, 100))
    np.testing.assert_allclose(calls[1], 2 * n)
    np.testing.assert_allclose((calls[-1] - calls[200]) / (last - 201), 6 * math.sqrt(n), rtol=0.05)
    # Four ln, plus the batches of the first hundred iterations.
    assert abs(calls[101] / n - (2 + 4 * math.log(105 / 6)) - 2 * 100 * 100 / n * 0.9) < 0.6


def test_bound_of_algorithm_one_to_the_printed_digits(x64):
    found = bounds.page_residual(jnp.array([1, 10, 100]), 0.25, 2.0, 1.0)
    np.testing.assert_allclose(found, [4.212789058969, 1.237571746325, 0.155354308668], rtol=0, atol=1e-11)
    far = bounds.page_residual(jnp.float64(1e6), 0.25, 2.0, 3.0)
    np.testing.assert_allclose(far, 4 * 3 / (0.25 * (1e6 + 4)), rtol=1e-5)


def test_who_is_guaranteed_to_win(x64):
    """The break-even of Algorithm 1 is n = 34^2 = about 1200 where L = L_F, and moves with (L / L_F)^2."""
    for ratio in (1.0, 3.0):
        for n, wins in ((1100 * ratio**2, False), (1250 * ratio**2, True)):
            calls = bounds.calls_to_accuracy(n, ratio, 1.0, 1.0, 1e-3)
            assert (calls["page"] < calls["forward_backward"]) == wins
    calls = bounds.calls_to_accuracy(400.0, 6.0, 1.0, 1.0, 1e-3)  # 6 < sqrt(400) / 3
    assert calls["resolvent"] < calls["extragradient"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: schedules.page_margin(0, 1, 0.5), r"num_components must be >= 1, got 0"),
        (lambda: schedules.page_margin(16, 0, 0.5), r"batch must be >= 1, got 0"),
        (lambda: schedules.page_margin(16, 17, 0.5, replace=False), r"batch must lie in \[1, 16\], got 17"),
        (lambda: schedules.page_margin(16, 4, 0.0), r"scaled_step must be positive and finite, got 0\.0"),
        (lambda: schedules.page_margin(16, 4, 0.5, probabilities=[1, 1, 0.0]), r"probabilities must lie in"),
        (lambda: schedules.page_margin(16, 4, 0.5, probabilities=[1, 1, 1.5]), r"probabilities must lie in"),
        (lambda: schedules.page_margin(16, 4, 0.5, probabilities=[1.0]), r"length of probabilities must be >= 3"),
        (lambda: schedules.page_margin(16, [4, 4, 4], 0.5), r"probabilities must be given with an array of batches"),
        (lambda: schedules.page_margin(16, 4, 0.5, refresh=schedules.Refresh(4.0, 0.0)), r"refresh\.floor must lie"),
        (lambda: schedules.page_refresh(0), r"num_components must be >= 1, got 0"),
        (lambda: schedules.batch_size(0), r"num_components must be >= 1, got 0"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
