"""A Bermudan put on the mean of 100 correlated assets, 2e9 replicates of 27 leaves, on a slice.

  python -m experiments.mlmc.applications --config=configs/mlmc/applications_pod.py --mesh=rep:-1
Independent assets would not do: their mean hardly moves, and the put is worth a cent. Expected: the estimate above the
value of the rule that regression finds, within one in a thousand. Smoke: append ":quick".
"""

import ml_collections as mlc


def get_config(arg=""):
    quick = arg == "quick"
    c = mlc.ConfigDict({"experiment": "mlmc.applications", "seed": 0, "data": ""})
    arguments = {"exercises": 3, "assets": 100, "correlation": 0.5}
    c.cases = {
        "hundred": {
            "kind": "put", "arguments": arguments, "r": (0.6, 0.6, 0.6), "b": (0, 0, 0),
            "block": 64 if quick else 4096, "estimator": "single",
        }
    }  # fmt: skip
    c.regression = {"fit_paths": 1000 if quick else 100_000, "fresh_paths": 1000 if quick else 1_000_000}
    c.levels = {}
    c.run = {"num_steps": 4 if quick else 512, "chunk": 1 if quick else 32, "replicates": 8 if quick else 1024}
    c.numerics = {"x64": False}
    return c
