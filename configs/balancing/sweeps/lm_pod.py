"""The two methods of `wang:24` at the size of `han:25`, and its grid of step sizes up to 1, on a slice.

  python -m experiments.sweep configs/balancing/sweeps/lm_pod.py --launcher=slurm

Six points, each as long as configs/balancing/lm_schedules_pod.py.
"""

CONFIG = "configs/balancing/lm_schedules_pod.py"

ROWS = (
    "aux_global 0.001", "sign const 0.0001", "sign const 0.001", "sign const 0.01", "sign const 0.1", "sign const 1",
)  # fmt: skip


def get_sweep(h):
    return h.product({"algo.rows": tuple((row,) for row in ROWS)})
