"""Gaps reported by the steps are those asked for, and HiGHS agrees with the certified bounds."""

import numpy as np

from experiments.lib import config as config_lib


def test_every_step_reaches_its_tolerance(play):
    config, curves = play("lp.py:batch,quick", {"run.replicates": 3, "run.num_steps": 3})
    gaps, allowed = curves["gap"].reshape(3, -1).max(axis=1), np.asarray(config.algo.tolerances)
    assert (gaps <= allowed * 1.01).all()
    assert (curves["primal"] <= curves["dual"] * (1 + 1e-6)).all()
    assert (np.diff(curves["rounds"], axis=0) >= 0).all()


def test_sizes_have_the_method_lists_they_are_judged_by():
    for word in ("", "batch", "medium"):
        config = config_lib.resolve(f"configs/matching/lp.py{':' if word else ''}{word}").config
        assert len(config.problem.peers) == 3
    assert config_lib.resolve("configs/matching/lp.py:large").config.problem.case[2:] == (100, 500)
