"""Fresh matrices and fresh seeds for the five problems: which winners depend on the draw of the matrix.

python -m experiments.sweep configs/halpern/sweeps/games.py --list
python -m experiments.sweep configs/halpern/sweeps/games.py | sh
"""

CONFIG = "configs/halpern/games.py"


def get_sweep(h):
    return h.product({"problem.matrix_seed": range(8), "seed": range(2)})
