"""CARPool on spectra of 256^3 particles in 512 Mpc/h, a pair on each of 256 devices at a time.

  python -m experiments.mlmc.carpool --config=configs/mlmc/carpool_pod.py --mesh=rep:-1
Expected: reductions out of sample that agree with 1 / (1 - R^2) in shells from 0.012 h/Mpc on. Smoke: append ":quick".
"""

import ml_collections as mlc


def get_config(arg=""):
    quick = arg == "quick"
    c = mlc.ConfigDict({"experiment": "mlmc.carpool", "seed": 0, "data": ""})
    side = 8 if quick else 256
    c.problem = {
        "box": 2.0 * side, "particles": side, "width": 1.0 if quick else 4.0,
        "lrg": {"shape": "step", "density": 1.5 if quick else 10.0, "width": 0.4, "most": 0.5 if quick else 0.05},
        "elg": {"shape": "peak", "density": 1.0 if quick else 3.0, "width": 0.4, "most": 0.5 if quick else 0.05},
    }  # fmt: skip
    c.algo = {
        "slow": {"steps": 4 if quick else 40, "first": 0.05, "mesh": side},
        "first": 0.1, "surrogates": (0, 2) if quick else (0, 3), "extra": 4,
        "betas": ("diagonal", "hybrid"),
    }  # fmt: skip
    c.run = {"num_steps": 6 if quick else 8, "chunk": 1, "replicates": 4 if quick else 256}
    return c
