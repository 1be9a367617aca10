"""Eight CPU devices, for a process of its own: `pytest -m multi_device tests/multi_device`."""

import jax
import pytest


def pytest_configure(config):
    # Also called when a run of all tests merely collects this folder: then the devices stay as they are.
    if config.option.markexpr == "multi_device":
        jax.config.update("jax_num_cpu_devices", 8)


@pytest.fixture
def mesh():
    """Eight devices along `rep`."""
    from jax.sharding import AxisType

    assert jax.device_count() == 8, "run as: pytest -m multi_device tests/multi_device"
    return jax.make_mesh((8,), ("rep",), axis_types=(AxisType.Auto,))
