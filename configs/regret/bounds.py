"""Measured regret over its bound, every theorem, its parts apart. Figure: regret/fig_bounds.
  python -m experiments.regret.bounds                                            # 250 instances; TODO
"""
import ml_collections as mlc


def get_config(arg=""):
    quick = arg == "quick"
    c = mlc.ConfigDict({"experiment": "regret.bounds", "seed": 0, "data": ""})
    c.problem = {"groups": 8, "features": 5, "hypotheses": 4}
    c.run = {"num_steps": 96 if quick else 512, "chunk": 32 if quick else 128, "replicates": 200 if quick else 250}
    c.numerics = {"x64": True}
    return c
