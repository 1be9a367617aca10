"""The CARPool experiment at its smallest: what a pair is, and that the analysis finds what was put in."""

import ml_collections
import numpy as np
import pytest

from experiments.mlmc import carpool


def planted(explained, groups=8, pairs=12, shells=3, seed=0):
    """Curves `[points, R, shell]` of Gaussian spectra whose surrogates explain a known share of the variance."""
    rng = np.random.default_rng(seed)

    def draw(scale=1.0):
        return scale * rng.standard_normal((pairs, groups, shells))

    curves = {"step": np.arange(1, pairs + 1)}
    for kind in carpool.KINDS:
        c = draw()
        own = draw(np.sqrt(1 - explained))
        curves |= {
            f"slow/{kind}": 20 + np.sqrt(explained) * c + own, f"check/{kind}": 20 + draw(),
            f"fast3/{kind}": 50 + 2 * c, f"mean3/{kind}": 50 + 2 * draw(0.1),
        }  # fmt: skip
    return curves


CONFIG = ml_collections.ConfigDict({
    "problem": {"particles": 8, "width": 1.0, "box": 16.0},
    "algo": {"surrogates": (3,), "betas": ("diagonal", "hybrid")}, "seed": 0,
})  # fmt: skip


@pytest.fixture(scope="module")
def analysed():
    return carpool.analysis(CONFIG, planted(0.8))


def test_the_analysis_finds_the_planted_share(analysed):
    """96 pairs, nine shells of three kinds. The logarithm of a variance ratio of correlation .89 has a standard
    deviation below .15 each: the mean of nine is within six of log 5, less the cost of a fitted beta, below .02."""
    found = [np.log(analysed[f"reduction3/{kind}/diagonal"]) for kind in carpool.KINDS]
    assert np.mean(found) == pytest.approx(np.log(5), abs=6 * 0.15 / 3 + 0.02)
    for kind in carpool.KINDS:
        low, middle, high = (analysed[f"{end}3/{kind}/diagonal"] for end in ("low", "reduction", "high"))
        assert (low < middle).all()
        assert (middle < high).all()
        assert np.abs(analysed[f"explained3/{kind}"] - 0.8).max() < 6 * 2 * np.sqrt(0.8) * 0.2 / np.sqrt(96)


def test_the_estimates_are_unbiased_and_tighter(analysed):
    """In units of the mean spectrum, 20: one standard deviation of a run is .05; margins six standard errors."""
    for kind in carpool.KINDS:
        plain, ours = analysed[f"plain/{kind}"], analysed[f"estimate3/{kind}"]
        error = 0.05 * np.sqrt(0.2 * 1.2 / 96 + 0.8 * 0.01 / 96 + 1 / 96)  # of the estimate, mu, and the scale itself
        assert np.abs(ours.mean(axis=0) - 1).max() < 6 * error
        assert ours.var(axis=0).mean() < plain.var(axis=0).mean()


def test_a_row_holds_spectra_of_every_simulator(play):
    """One step of two groups: finite spectra of the shells, groups that differ, surrogates of the same seed closer to
    their slow run than the check of another seed."""
    config, curves = play("carpool.py:quick", {"run.replicates": 2, "run.num_steps": 2, "algo.extra": 1})
    names = {f"{source}/{kind}" for source in ("slow", "check", "fast0", "fast2", "mean0", "mean2")
             for kind in carpool.KINDS}  # fmt: skip
    assert set(curves) == names | {"step"}
    assert all(curves[name].shape == (2, 2, 3) and np.isfinite(curves[name]).all() for name in names)
    slow, near, far = (np.log(curves[f"{source}/matter"]) for source in ("slow", "fast2", "check"))
    assert np.abs(near - slow).mean() < np.abs(far - slow).mean() / 2
    assert not np.array_equal(curves["slow/matter"][:, 0], curves["slow/matter"][:, 1])
    assert not np.array_equal(curves["slow/matter"][0], curves["slow/matter"][1])
