"""Runs an experiment's program on one device, without a run directory."""

import contextlib
import importlib

import jax
import numpy as np
import pytest

from experiments.lib import config as config_lib
from experiments.lib import mesh as mesh_lib


@pytest.fixture(scope="session")
def play():
    """`play(reference, overrides) -> (config, curves)`: every metric by name, `[points, R, ...]`."""

    def run(reference, overrides=None):
        config = config_lib.resolve(f"configs/matching/{reference}", overrides).config
        experiment = importlib.import_module(f"experiments.{config.experiment}")
        rows = []
        with jax.enable_x64(True) if config.numerics.x64 else contextlib.nullcontext():
            program = experiment.program(config, mesh_lib.build({"rep": 1}))
            data, state = program.init()
            for _ in range(config.run.num_steps // config.run.chunk):
                state, metrics = program.advance(data, state)
                rows.append(jax.device_get(metrics))
        steps = config.run.chunk * np.arange(1, len(rows) + 1)
        return config, {name: np.stack([row[name] for row in rows]) for name in rows[0]} | {"step": steps}

    return run
