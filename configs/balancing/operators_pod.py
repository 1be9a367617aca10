"""Every router on the logits of a small next-byte model on a slice: 16,384 tokens, 256 seeds.

  python -m experiments.balancing.operators --config=configs/balancing/operators_pod.py --mesh=rep:-1
Expected: top-K without balancing overloads an expert several times; rules that see the batch keep their caps exactly.
Figure: balancing/fig_operators; table: balancing/tab_operators. Smoke: append ":quick".
"""

import ml_collections as mlc

ROUTERS = (
    "top-K", "Mixtral", "loss-free, sign", "loss-free, prop", "node-limited", "quantile", "expert choice",
    "BASE (K = 1)", "drop by score", "drop the last", "expanded drop", "reroute", "grouped", "null experts", "MoE++",
    "fine-grained", "recurrent", "chain", "shared pools", "document pools", "whole documents", "sharing, vote",
    "sharing, seq",
)  # fmt: skip
QUICK = ("top-K", "loss-free, sign", "expert choice", "drop by score", "reroute", "grouped", "sharing, vote")


def get_config(arg=""):
    quick = arg == "quick"
    c = mlc.ConfigDict({"experiment": "balancing.operators", "seed": 0, "data": ""})
    c.problem = {"bytes": 2**20, "validation": 200_000, "sequences": 4 if quick else 256, "length": 64}
    c.algo = {
        "routers": QUICK if quick else ROUTERS, "experts": 16, "top_k": 2, "width": 32, "expert_width": 32,
        "recurrent": 16, "learning_rate": 3e-3, "sweeps": 12,
    }  # fmt: skip
    c.run = {
        "num_steps": 40 if quick else 2000, "chunk": 20 if quick else 500, "replicates": 2 if quick else 256,
        "timings": 0 if quick else 50,
    }  # fmt: skip
    c.numerics = {"x64": False}
    return c
