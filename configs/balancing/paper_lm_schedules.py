"""Every way of balancing a 1.7 M-parameter language model on bytes of Python's standard library: 200 steps, 3 seeds.

  python -m experiments.balancing.lm_schedules --config=configs/balancing/paper_lm_schedules.py   # 30 min on two cores
Expected: without balancing MaxVio on the validation text reaches 3 and more in some layer; with sign 1e-2 it stays
below 0.8 in every layer, at no loss beyond noise; sign 1e-3 cannot travel far enough in 200 steps.
The gate of `han:25`, softmax, with three rows: append ":softmax". Smoke: append ":quick".
"""

import ml_collections as mlc

ARGS = ("quick", "softmax")

ROWS = (
    "none", "aux 0.01", "aux_global 0.01", "sign const 0.001", "sign const 0.01", "sign const 0.1", "prop const 0.2",
    "sign inv 1", "sign inv_sqrt 0.1", "prop inv 10", "quantile",
)  # fmt: skip


def get_config(arg=""):
    given = [word for word in arg.split(",") if word]
    softmax = "softmax" in given
    c = mlc.ConfigDict({"experiment": "balancing.lm_schedules", "seed": 0, "data": ""})
    c.problem = {
        "source": "pylib", "size": "tiny", "capacity": 2**24, "documents": 2048, "validation": 200_000, "stripes": 1,
        "separator": -1, "dtype": "uint16", "sha256": "",
    }  # fmt: skip
    c.model = {
        "parallel_residual": False, "router_init": "normal", "compute_dtype": "", "remat": False, "experts": "blocked",
    }  # fmt: skip
    c.algo = {
        "rows": ("none", "aux_global 0.01", "sign const 0.01") if softmax else ROWS,
        "gate": "softmax" if softmax else "sigmoid", "aux_sequences": 2,
        "optimizer": {
            "learning_rate": 3e-3, "warmup": 20.0, "total": 200.0, "final": 0.1, "b1": 0.9, "b2": 0.95,
            "weight_decay": 0.1, "clip": 1.0,
        },
    }  # fmt: skip
    c.run = {
        "num_steps": 200, "chunk": 50, "replicates": 3, "batch_size": 8, "length": 128, "micro_batches": 1,
        "balance_scope": "micro", "windows": 64,
    }  # fmt: skip
    if "quick" in given:
        c.run.update({"num_steps": 8, "chunk": 4, "replicates": 1, "batch_size": 2, "length": 64, "windows": 4})
    return c
