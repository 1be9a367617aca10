"""A thousand small runs, the yardstick of batched sweeps: 64 replicates each, on one graph with its nodes renamed.

  python -m experiments.sweep configs/matching/sweeps/seeds.py --batch_points=250 --submit --jobs=2

What the policies earn must not depend on the seed of the renaming; by single processes it takes about an hour.
"""

CONFIG = "configs/matching/rewards.py:quick"

SMALL = {"problem.cases": ((("permuted", 4, 0.25),),), "run.num_steps": (128,), "run.replicates": (64,)}


def get_sweep(h):
    return h.product(SMALL, {"seed": range(1000)})
