"""Step sizes of the sign rule on a language model, by schedule: the grid of `han:25`, 200 steps of 1,024 bytes.

  python -m experiments.balancing.u_sweep --config=configs/balancing/paper_u_sweep.py       # 45 min on two CPU cores
Expected: balance between a left wall, where 2 sum u_n is the spread of the balancing bias, and a right one, where the
bias oscillates by more than scores differ; u near 1e-2, 1e-1 and 1 for const, 1/sqrt(n) and 1/n. Smoke: ":quick".
"""

import ml_collections as mlc

GRID = ("0.0001", "0.001", "0.01", "0.1", "1", "10")


def get_config(arg=""):
    c = mlc.ConfigDict({"experiment": "balancing.u_sweep", "seed": 0, "data": ""})
    c.problem = {
        "source": "pylib", "size": "tiny", "capacity": 2**24, "documents": 2048, "validation": 200_000, "stripes": 1,
        "separator": -1, "dtype": "uint16", "sha256": "",
    }  # fmt: skip
    c.model = {
        "parallel_residual": False, "router_init": "normal", "compute_dtype": "", "remat": False, "experts": "blocked",
    }  # fmt: skip
    c.algo = {
        "rows": tuple(f"sign {schedule} {u}" for schedule in ("const", "inv", "inv_sqrt") for u in GRID),
        "gate": "sigmoid", "aux_sequences": 2,
        "optimizer": {
            "learning_rate": 3e-3, "warmup": 20.0, "total": 200.0, "final": 0.1, "b1": 0.9, "b2": 0.95,
            "weight_decay": 0.1, "clip": 1.0,
        },
    }  # fmt: skip
    c.run = {
        "num_steps": 200, "chunk": 50, "replicates": 3, "batch_size": 8, "length": 128, "micro_batches": 1,
        "balance_scope": "micro", "windows": 64,
    }  # fmt: skip
    if arg == "quick":
        c.run.update({"num_steps": 8, "chunk": 4, "replicates": 1, "batch_size": 2, "length": 64, "windows": 4})
    return c
