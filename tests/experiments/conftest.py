"""The toy experiment, run in this process or in one of its own; and programs without a run directory."""

import contextlib
import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import pytest

from experiments.data import fetch
from experiments.lib import app, rundir
from experiments.lib import config as config_lib
from experiments.lib import mesh as mesh_lib
from paper_figures import catalog

CHECKOUT = Path(__file__).resolve().parents[2]
WALK = CHECKOUT / "tests/experiments/toy/walk.py"
CONFIG = "tests/experiments/toy/configs/walk.py"


class Ended(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def path(self) -> Path:
        """The run directory that was printed."""
        return Path(self.out.strip())


@pytest.fixture(scope="session")
def walk():
    """The toy experiment's module."""
    spec = importlib.util.spec_from_file_location("toy_walk", WALK)
    module = importlib.util.module_from_spec(spec)
    sys.modules["toy_walk"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def _one_revision(monkeypatch):
    """The working tree may be edited while tests run; a resumed run must not take notice."""
    monkeypatch.setenv("EQUIPOISE_REVISION", "as-tested")


@pytest.fixture
def root(tmp_path):
    return tmp_path / "runs"


@pytest.fixture
def launch(walk, root, capsys):
    """Runs the toy experiment in this process, and puts jax's configuration back."""
    names = ("jax_enable_x64", "jax_default_matmul_precision", "jax_default_prng_impl", "jax_threefry_partitionable")
    before = {name: getattr(jax.config, name) for name in names}

    def run(*arguments, main=walk.main, module="") -> Ended:
        capsys.readouterr()
        given = [f"--root={root}", "--compile_cache=off", *map(str, arguments)]
        code = app.launch(main, given, default_config=CONFIG, module=module)
        return Ended(code, *capsys.readouterr())

    yield run
    for name, value in before.items():
        jax.config.update(name, value)


@pytest.fixture(scope="session")
def environment(tmp_path_factory):
    """Environment of a process of its own: this checkout, one compile cache for all of them."""
    return os.environ | {
        "PYTHONPATH": str(CHECKOUT),
        "EQUIPOISE_REVISION": "as-tested",
        "XDG_CACHE_HOME": str(tmp_path_factory.mktemp("cache")),
    }


@pytest.fixture
def start(environment, root):
    """Starts the toy experiment in a process of its own; whatever is left of it is killed at the end of the test."""
    started = []

    def run(*arguments, script=WALK, within=()) -> subprocess.Popen:
        command = [*within, sys.executable, str(script), f"--root={root}", *map(str, arguments)]
        process = subprocess.Popen(
            command, cwd=CHECKOUT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture(scope="session")
def player(quick_run):
    """`player(family)(reference, overrides) -> (config, curves)`: every metric by name, `[points, R, ...]`; skips
    without data. Without overrides a quick config's curves are those of the run that the figures are drawn from."""

    def of_family(family):
        return lambda reference, overrides=None: _play(f"configs/{family}/{reference}", overrides, quick_run)

    return of_family


@pytest.fixture(scope="session")
def finished(quick_run):
    """`finished(family)(reference) -> rundir.Run`: the whole run of a quick config; skips without data."""
    return lambda family: lambda reference: _finished(f"configs/{family}/{reference}", quick_run)


def _finished(reference, quick_run):
    for name in catalog.data_sets(config_lib.resolve(reference)):
        if not fetch.cached(name):
            try:
                fetch.read(fetch.source(name))
            except fetch.DataError as error:
                pytest.skip(str(error))
    code, path = quick_run(reference)
    assert code == 0
    return rundir.load(path)


def _play(reference, overrides, quick_run):
    config = config_lib.resolve(reference, overrides).config
    if overrides is None and reference.endswith("quick"):
        return config, _finished(reference, quick_run).curves
    experiment = importlib.import_module(f"experiments.{config.experiment}")
    rows = []
    with jax.enable_x64(True) if config.numerics.x64 else contextlib.nullcontext():
        program = experiment.program(config, mesh_lib.build({"rep": 1}))
        try:
            data, state = program.init()
        except fetch.DataError as error:
            pytest.skip(str(error))
        for _ in range(config.run.num_steps // config.run.chunk):
            state, metrics = program.advance(data, state)
            rows.append(jax.device_get(metrics))
    steps = config.run.chunk * np.arange(1, len(rows) + 1)
    return config, {name: np.stack([row[name] for row in rows]) for name in rows[0]} | {"step": steps}
