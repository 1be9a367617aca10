"""The 1 B-parameter model of `han:25` on a slice: a million tokens a step, routed experts over `model`.

  python -m experiments.balancing.lm_schedules --config=configs/balancing/lm_schedules_pod.py \
      --config.problem.source=TOKENS.bin --mesh=data:32,model:8
  python -m experiments.aot --config=configs/balancing/lm_schedules_pod.py --topology=v5e:16x16
Expected (second-hand, `wang:24`, Table 2, after 100 B tokens): MaxVio on the validation set 0.04 with the sign rule
against 0.72 with the auxiliary loss, at a perplexity of 9.50 against 9.56; this run sees 10 B tokens. TOKENS.bin holds
uint16 tokens of a vocabulary of 32,064; the first 4.3 billion are kept, split over all devices. The gate, its
initialisation and the parallel residual are those of the authors' code of `han:25`. The 3 B shape of `wang:24`, with
its sigmoid gate: append ":pod3b". With the auxiliary loss: configs/balancing/sweeps/lm_pod.py. Smoke: ":quick".
"""

import ml_collections as mlc

ARGS = ("quick", "pod3b")
MESH = "data:-1,model:8"
GROWS = ("problem.stripes", "run.batch_size", "run.windows")


def get_config(arg=""):
    given = [word for word in arg.split(",") if word]
    large, quick = "pod3b" in given, "quick" in given
    c = mlc.ConfigDict({"experiment": "balancing.lm_schedules", "seed": 0, "data": ""})
    c.problem = {
        "source": "tokens.bin", "size": "pod3b" if large else "pod1b", "capacity": 2**32, "documents": 2**16,
        "validation": 2_000_000, "stripes": 256, "separator": -1, "dtype": "uint16", "sha256": "",
    }  # fmt: skip
    c.model = {
        "parallel_residual": not large, "router_init": "normal" if large else "kaiming", "compute_dtype": "bfloat16",
        "remat": True, "experts": "ragged",
    }  # fmt: skip
    c.algo = {
        "rows": ("sign const 0.001",), "gate": "sigmoid" if large else "softmax", "aux_sequences": 1,
        "optimizer": {
            "learning_rate": 1e-3, "warmup": 500.0, "total": 10_000.0, "final": 0.1, "b1": 0.9, "b2": 0.95,
            "weight_decay": 0.1, "clip": 1.0,
        },
    }  # fmt: skip
    c.run = {
        "num_steps": 10_000, "chunk": 100, "replicates": 1, "batch_size": 256, "length": 4096, "micro_batches": 1,
        "balance_scope": "micro", "windows": 256,
    }  # fmt: skip
    c.numerics = {"matmul_precision": "default"}  # bfloat16 products; the router asks for all digits by itself
    if quick:
        c.problem.update({"source": "pylib", "size": "tiny", "capacity": 2**24, "documents": 2048, "stripes": 1})
        c.problem.validation, c.model.experts = 200_000, "blocked"
        c.run.update({"num_steps": 4, "chunk": 2, "batch_size": 2, "length": 64, "windows": 2})
    return c
