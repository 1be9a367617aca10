"""Every test runs on the CPU, with strict promotion, warnings as errors and no window.

`JAX_PLATFORMS=cuda python -m pytest -m gpu` and its like choose another platform. No compile cache is set: it writes
entries in place, and a test process that reads one half-written would warn, which is an error here.
"""

import os

from experiments.lib import backend

# Before jax is imported. Only ALLOW_MULTIPLE_LIBTPU_LOAD changes function: without it two test processes cannot both
# load libtpu. The others keep its start-up quiet.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.update(MPLBACKEND="Agg")
if os.environ["JAX_PLATFORMS"] == "cpu":
    os.environ.update(backend.NO_TPU)

import jax
import pytest

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_default_prng_impl", "threefry2x32")
jax.config.update("jax_threefry_partitionable", True)


@pytest.fixture
def x64():
    """Double precision for one test."""
    with jax.enable_x64(True):
        yield
