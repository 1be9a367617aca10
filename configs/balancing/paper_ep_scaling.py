"""One layer of 64 experts over 1, 2, 4 and 8 CPU devices, 16,384 tokens: the same loads, the same biases.

  python -m experiments.balancing.ep_scaling --config=configs/balancing/paper_ep_scaling.py
Expected: loads and biases equal to the bit, outputs to 1e-5. Figure: balancing/fig_ep_scaling. Smoke: append ":quick".
"""

import ml_collections as mlc


def get_config(arg=""):
    quick = arg == "quick"
    c = mlc.ConfigDict({"experiment": "balancing.ep_scaling", "seed": 0, "data": ""})
    c.problem = {
        "tokens": 512 if quick else 16384,
        "experts": 16 if quick else 64,
        "width": 32,
        "hidden": 32,
        "skew": 1.0,
    }
    c.algo = {"top_k": 2 if quick else 8, "step_size": 0.03125, "capacity_factor": 1.25, "model_axis": 4}
    c.run = {
        "num_steps": 16 if quick else 128, "chunk": 1, "replicates": 2 if quick else 8,
        "devices": (1, 2) if quick else (1, 2, 4, 8),
    }  # fmt: skip
    c.numerics = {"x64": False}
    return c
