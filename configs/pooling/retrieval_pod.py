"""GSP above a ResNet-50 on CUB-200-2011, on a slice: 256 pictures a step, 40 epochs, birds of 100 unseen classes.

  python -m experiments.pooling.imagenet --config=configs/pooling/imagenet_pod.py --config.algo.kind=max \
      --config.problem.source=PICTURES --mesh=data:256
  python -m experiments.pooling.retrieval --config=configs/pooling/retrieval_pod.py \
      --config.problem.source=FOLDER --config.algo.weights=RUN --mesh=data:256
  python -m experiments.aot --config=configs/pooling/retrieval_pod.py --topology=v5e:16x16 --limit_seconds=1800
FOLDER holds train_images.npy, uint8 [5864, 256, 256, 3], train_labels.npy, 0..99, and of validation 5,924 pictures,
100..199 (`wah:11`, classes in their order); with ":cars" 8,054 of 0..97 and 8,131 of 98..195 (`krause:13`). All are
used. RUN is the run directory of the first command: from random weights nothing is learned of so few pictures. Other
pools: --config.algo.pool=avg (max, gem, avg+max, gsp+max).
Published, recall at 1: `teh:20` 72.2 % on CUB and 90.1 % on Cars (paper, abstract: its best, max pool without a linear
map), 69.0 and 86.5 % with 512 numbers (recalled); `gurbuz:23` GSP above the average on both (paper, abstract; its
tables were not read). Rates, epsilon, temperature and epochs are those of the release of `teh:20`, for batches of 32:
expect to tune the rates for 256. mu, gamma and 64 prototypes are those of `gurbuz:23`, whose loss has one more term,
of zero-shot prediction, that is not here. Smoke: append ":quick".
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
