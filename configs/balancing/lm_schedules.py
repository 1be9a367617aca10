"""Ways of balancing a 1.7 M-parameter language model on bytes of Python's standard library: four rows, 40 steps.

  python -m experiments.balancing.lm_schedules                                   # 50 s on two CPU cores
Expected: without balancing an expert takes several times its share in some layer; with sign 1e-2 loads are on the way
to balance. Where the rows end is a matter of 200 steps: configs/balancing/paper_lm_schedules.py.
Figures: balancing/fig_lm_schedules, balancing/fig_utilisation. Smoke: append ":quick".
Other text: --config.problem.source=PATH of a text, .npy or .bin file. Numbers compare only at equal sha256, which is in
results.npz; --config.problem.sha256=... insists on one.
"""

import ml_collections as mlc

ROWS = ("none", "aux_global 0.01", "sign const 0.01", "prop const 0.2")
#: Of the same kinds as those of u_sweep.py:quick, so that both need one compilation.
QUICK = ("none", "aux_global 0.01", "sign const 0.01", "sign const 0.1", "sign inv 1", "sign inv_sqrt 0.1")


def get_config(arg=""):
    quick = arg == "quick"
    c = mlc.ConfigDict({"experiment": "balancing.lm_schedules", "seed": 0, "data": ""})
    c.problem = {
        "source": "pylib", "size": "tiny", "capacity": 2**24, "documents": 2048, "validation": 200_000, "stripes": 1,
        "separator": -1, "dtype": "uint16", "sha256": "",
    }  # fmt: skip
    c.model = {
        "parallel_residual": False,
        "router_init": "normal",
        "compute_dtype": "",
        "remat": False,
        "experts": "blocked",
    }
    c.algo = {
        "rows": QUICK if quick else ROWS, "gate": "sigmoid", "aux_sequences": 2,
        "optimizer": {
            "learning_rate": 3e-3, "warmup": 20.0, "total": 200.0, "final": 0.1, "b1": 0.9, "b2": 0.95,
            "weight_decay": 0.1, "clip": 1.0,
        },
    }  # fmt: skip
    c.run = {
        "num_steps": 40, "chunk": 20, "replicates": 1, "batch_size": 8, "length": 128, "micro_batches": 1,
        "balance_scope": "micro", "windows": 32,
    }  # fmt: skip
    if quick:
        c.run.update({"num_steps": 8, "chunk": 4, "batch_size": 2, "length": 64, "windows": 4})
    return c
