"""ResNet-50 with SoftPool behind its first convolution on ImageNet, on a slice: 4,096 pictures a step, 90 epochs.

  python -m experiments.pooling.imagenet --config=configs/pooling/imagenet_pod.py \
      --config.problem.source=FOLDER --mesh=data:256
  python -m experiments.aot --config=configs/pooling/imagenet_pod.py --topology=v5e:16x16
FOLDER holds train_images.npy, uint8 [n, 256, 256, 3], train_labels.npy, and the same of validation, split over all
devices. Any kind: --config.algo.kind=max. Smaller: ":resnet18"; the mixer: ":poolformer". Rates grow with the batch,
five epochs of warm-up (`goyal:17`); the kernels of windows take a chip's 16 pictures, of which batch statistics are
too: --config.algo.statistics=batch for those of all, a third more time a step by the model of experiments.scaling.
Published: PoolFormer-S12 77.2 % (`yu:22`, 300 epochs with more augmentation than here); ResNet-18 and 50 with max
pooling about 70 and 76 % (recalled); SoftPool above max for every network tested (`stergiou:21`). Smoke: append
":quick".
"""

import ml_collections as mlc

ARGS = ("quick", "resnet18", "poolformer")
MESH = "data:-1"
GROWS = ("problem.stripes", "run.batch_size")


def get_config(arg=""):
    given = [word for word in arg.split(",") if word]
    quick, mixer = "quick" in given, "poolformer" in given
    c = mlc.ConfigDict({"experiment": "pooling.imagenet", "seed": 0, "data": ""})
    c.problem = {
        "source": "synthetic" if quick else "imagenet", "train": 512 if quick else 1_281_167,
        "side": 36 if quick else 256, "crop": 32 if quick else 224, "classes": 10 if quick else 1000,
        "stripes": 8 if quick else 256,
    }  # fmt: skip
    large = "poolformer_s12" if mixer else "resnet18" if "resnet18" in given else "resnet50"
    c.algo = {
        "model": ("poolformer_small" if mixer else "resnet_small") if quick else large,
        "kind": "avg" if mixer else "soft", "compute_dtype": "float32" if quick else "bfloat16",
        "statistics": "device", "optimizer": "adamw" if mixer else "sgd", "learning_rate": 4e-3 if mixer else 1.6,
        "warmup": 2 if quick else 1564, "weight_decay": 0.05 if mixer else 1e-4,
    }  # fmt: skip
    c.run = {
        "num_steps": 4 if quick else 28_125, "chunk": 2 if quick else 625, "replicates": 1,
        "batch_size": 32 if quick else 4096, "windows": 64 if quick else 50_000,
    }  # fmt: skip
    c.numerics = {"x64": False}
    return c
