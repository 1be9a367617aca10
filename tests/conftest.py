"""Every test runs on the CPU, with strict promotion, warnings as errors and no window.

`JAX_PLATFORMS=cuda python -m pytest -m gpu` and its like choose another platform. No compile cache is set: it writes
entries in place, and a test process that reads one half-written would warn, which is an error here.

Most of the time would go to LLVM's optimisation of programs that run once on a few numbers: they are compiled without
it, which saves up to half of the work. What users get is tested by `make figures`, which checks every claim, by what
runs in a process of its own here (experiments, kernels for chips), by tests marked `optimized`, which are about bits,
and by those marked `slow`; and by every test under `JAX_DISABLE_MOST_OPTIMIZATIONS=0 make unit`.
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

#: Marks of tests that are compiled as for users.
AS_SHIPPED = ("optimized", "slow", "multi_device", "tpu_aot", "gpu", "tpu")
#: Whether the choice is ours: on the CPU, unless the environment has made it.
CHOOSE = os.environ["JAX_PLATFORMS"] == "cpu" and "JAX_DISABLE_MOST_OPTIMIZATIONS" not in os.environ


def _optimize(effort):
    jax.config.update("jax_disable_most_optimizations", not effort)
    return effort


def pytest_collection_modifyitems(items):
    """The longest file first: begun last, it would run alone on one core."""
    items.sort(key=lambda item: item.path.name != "test_figures.py")


@pytest.fixture(autouse=True, scope="session")
def _effort():
    """What compilation is set to; off from the start, for fixtures of modules, which come before the tests."""
    return [_optimize(False) if CHOOSE else None]


@pytest.fixture(autouse=True)
def _optimization(request, _effort):
    """The compiler's effort for one test; no program compiled with another effort takes part in it."""
    wanted = any(request.node.get_closest_marker(mark) for mark in AS_SHIPPED)
    if CHOOSE and [wanted] != _effort:
        jax.clear_caches()
        _effort[:] = [_optimize(wanted)]


@pytest.fixture
def x64():
    """Double precision for one test."""
    with jax.enable_x64(True):
        yield
