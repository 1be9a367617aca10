"""GSP above a ResNet-50 on CUB-200-2011, on a slice: 256 pictures a step, 40 epochs, birds of 100 unseen classes found.

  python -m experiments.pooling.imagenet --config=configs/pooling/imagenet_pod.py --config.algo.kind=max \
      --config.problem.source=PICTURES --mesh=data:256
  python -m experiments.pooling.retrieval --config=configs/pooling/retrieval_pod.py \
      --config.problem.source=FOLDER --config.algo.weights=RUN --mesh=data:256
  python -m experiments.aot --config=configs/pooling/retrieval_pod.py --topology=v5e:16x16
"""

import ml_collections as mlc

ARGS = ("quick", "cars")
MESH = "data:-1"
GROWS = ("problem.stripes", "run.batch_size")


def get_config(arg=""):
    given = [word for word in arg.split(",") if word]
    quick, cars = "quick" in given, "cars" in given
    c = mlc.ConfigDict({"experiment": "pooling.retrieval", "seed": 0, "data": ""})
    classes, train, windows = (98, 8054, 8131) if cars else (100, 5864, 5924)
    steps = 63 if cars else 46  # two epochs
    c.problem = {
        "source": "synthetic" if quick else "cars" if cars else "cub", "train": 203 if quick else train,
        "side": 40 if quick else 256, "crop": 32 if quick else 224, "classes": classes, "unseen": classes,
        "stripes": 8 if quick else 256, "foreground": 0.25, "nuisances": 8,
    }  # fmt: skip
    c.algo = {
        "model": "resnet_small" if quick else "resnet50", "kind": "max", "pool": "gsp", "dim": 32 if quick else 512,
        "prototypes": 16 if quick else 64, "mu": 0.3, "gamma": 5.0, "power": 3.0, "weights": "",
        "compute_dtype": "float32" if quick else "bfloat16", "temperature": 1 / 9, "learning_rate": 4e-3,
        "proxy_rate": 400.0, "epsilon": 1.0, "warmup": 2 if quick else steps,
    }  # fmt: skip
    c.run = {
        "num_steps": 4 if quick else 20 * steps, "chunk": 2 if quick else steps, "replicates": 1,
        "batch_size": 32 if quick else 256, "windows": 101 if quick else windows,
    }  # fmt: skip
    c.numerics = {"x64": False}
    return c
