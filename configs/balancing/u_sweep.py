"""Step sizes of the sign rule on a small language model, by schedule: 40 steps of 256 bytes.

  python -m experiments.balancing.u_sweep                                   # 50 s on two CPU cores
Expected: for each schedule a range of step sizes with even loads; below the dotted wall the bias cannot travel there.
Figure: balancing/fig_u_sweep. Smoke: append ":quick".
"""

import ml_collections as mlc

GRID = {
    "const": ("0.0001", "0.001", "0.01", "0.1"),
    "inv": ("0.01", "0.1", "1"),
    "inv_sqrt": ("0.001", "0.01", "0.1", "1"),
}
QUICK = {"const": ("0.001", "0.1"), "inv": ("0.01", "1"), "inv_sqrt": ("0.001", "0.1")}


def get_config(arg=""):
    quick = arg == "quick"
    c = mlc.ConfigDict({"experiment": "balancing.u_sweep", "seed": 0, "data": ""})
    c.problem = {
        "source": "pylib", "size": "tiny", "capacity": 2**24, "documents": 2048, "validation": 200_000, "stripes": 1,
        "separator": -1, "dtype": "uint16", "sha256": "",
    }  # fmt: skip
    c.model = {
        "parallel_residual": False, "router_init": "normal", "compute_dtype": "", "remat": False, "experts": "blocked",
    }  # fmt: skip
    grid = QUICK if quick else GRID
    c.algo = {
        "rows": tuple(f"sign {schedule} {u}" for schedule, sizes in grid.items() for u in sizes),
        "gate": "sigmoid", "aux_sequences": 2,
        "optimizer": {
            "learning_rate": 3e-3, "warmup": 10.0, "total": 40.0, "final": 0.1, "b1": 0.9, "b2": 0.95,
            "weight_decay": 0.1, "clip": 1.0,
        },
    }  # fmt: skip
    c.run = {
        "num_steps": 40, "chunk": 20, "replicates": 1, "batch_size": 4, "length": 64, "micro_batches": 1,
        "balance_scope": "micro", "windows": 16,
    }  # fmt: skip
    if quick:
        c.run.update({"num_steps": 8, "chunk": 4, "batch_size": 2, "windows": 4})
    return c
