"""UCI Adult: regret in thirteen groups, ten shuffles of 48,842 people, float32.

  python -m experiments.regret.adult                                              # 40 s on two CPU cores
  python -m experiments.regret.adult --config=configs/regret/adult.py:reconstruction --adult_reconstruction=PATH
Expected: loss of always_on 5675.8 (one online ridge), 5559.1 (the paper's ANH), 5435.1 (specialist AA). The paper used
the Adult reconstruction, which users bring; its numbers: paper_figures/regret/expected/adult_reconstruction.json.
Figures: regret/fig_adult, regret/tab_adult_loss. Smoke: ":quick" (four shuffles, 6,144 rounds).
"""

import ml_collections as mlc

ARGS = ("quick", "reconstruction")

METHODS = ("baseline", "baseline_clip", "anh", "anh_clip", "anh_mean", "aa", "ewa", "smallest_group", "uniform")


def get_config(arg=""):
    given = [word for word in arg.split(",") if word]
    reconstruction = "reconstruction" in given
    data = "adult_reconstruction" if reconstruction else "adult"
    c = mlc.ConfigDict({"experiment": "regret.adult", "seed": 0, "data": data})
    c.problem = {"source": "reconstruction" if reconstruction else "uci"}
    c.algo = {
        "methods": METHODS, "regularization": 1.0, "forecaster": "ridge", "form": "compacted", "block_size": 32,
    }  # fmt: skip
    c.run = {"num_steps": 50_176 if reconstruction else 49_152, "chunk": 1024, "replicates": 10, "oracle_points": 12}
    if "quick" in given:
        c.run.update({"num_steps": 6144, "chunk": 512, "replicates": 4})
    return c
