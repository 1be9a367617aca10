"""Finer grids of (eps, delta) around both published pairs.

  python -m experiments.sweep configs/matching/sweeps/ablation.py

Each of the eight points, four draws of instances for each grid, takes as long as configs/matching/ablation.py or less.
"""

CONFIG = "configs/matching/ablation.py"

GRIDS = {
    "algo.eps": ((0.09, 0.1, 0.11, 0.12, 0.13), (0.03, 0.039, 0.048, 0.057, 0.066)),
    "algo.delta": ((0.15, 0.165, 0.18, 0.195, 0.21), (0.04, 0.052, 0.0643, 0.076, 0.088)),
}


def get_sweep(h):
    return h.product(h.zipped(GRIDS), {"seed": range(4)})
