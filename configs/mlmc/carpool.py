"""CARPool on spectra of 32^3 particles: eight groups of twelve pairs, surrogates of zero and three steps.

  python -m experiments.mlmc.carpool                                     # 50 s on two CPU cores
Expected: reductions out of sample that agree with 1 / (1 - R^2), and estimates that agree with independent runs.
Figure: mlmc/fig_carpool. Smoke: append ":quick".
"""

import ml_collections as mlc


def get_config(arg=""):
    quick = arg == "quick"
    c = mlc.ConfigDict({"experiment": "mlmc.carpool", "seed": 0, "data": ""})
    side = 8 if quick else 32
    c.problem = {
        "box": 2.0 * side, "particles": side, "width": 1.0,
        "lrg": {"shape": "step", "density": 1.5 if quick else 10.0, "width": 0.4, "most": 0.5},
        "elg": {"shape": "peak", "density": 1.0 if quick else 3.0, "width": 0.4, "most": 0.5},
    }  # fmt: skip
    c.algo = {
        "slow": {"steps": 4 if quick else 24, "first": 0.05, "mesh": side},
        "first": 0.1, "surrogates": (0, 2) if quick else (0, 3), "extra": 4,
        "betas": ("diagonal",) if quick else ("diagonal", "hybrid", "full"),
    }  # fmt: skip
    c.run = {"num_steps": 6 if quick else 12, "chunk": 1, "replicates": 4 if quick else 8}
    return c
