"""Every config's program: built and lowered from its abstract arguments alone, with no data at hand."""

import contextlib
import importlib
import pathlib

import jax
import pytest

from experiments.data import fetch
from experiments.lib import config as config_lib
from experiments.lib import mesh as mesh_lib

ROOT = pathlib.Path(__file__).resolve().parents[1]
CONFIGS = sorted(
    str(path.relative_to(ROOT))
    for path in (ROOT / "configs").glob("*/*.py")
    if path.parent.name not in ("env", "sweeps")
)


def build(reference):
    """The resolved config, its program on one device, and the precision it asks for."""
    resolved = config_lib.resolve(reference)
    experiment = importlib.import_module(f"experiments.{resolved.config.experiment}")
    precision = jax.enable_x64(True) if resolved.config.numerics.x64 else contextlib.nullcontext()
    with precision:
        program = experiment.program(resolved.config, mesh_lib.build({"rep": 1}))
        lowered = jax.jit(program.advance).lower(*program.abstract_args)
    return resolved.config, program, lowered


def is_variant(config):
    """The same program as the default config of its question, with other numbers. `experiments.aot --all` compiles
    those of pods, and a default test one of each family."""
    stem = pathlib.Path(config).stem
    return stem.startswith("paper_") or stem.endswith("_pod")


CASES = [pytest.param(config, marks=pytest.mark.slow if is_variant(config) else ()) for config in CONFIGS]


@pytest.mark.parametrize("config", CASES)
def test_a_program_lowers_without_its_data(config, monkeypatch):
    def refuse(wanted, *_, **__):
        raise AssertionError(f"abstract arguments must not need the data set {wanted.name}")

    monkeypatch.setattr(fetch, "read", refuse)
    resolved, program, lowered = build(config)
    assert resolved.run.num_steps % resolved.run.chunk == 0
    known = set(config_lib.fields(resolved))
    assert set(program.traced_fields) <= known
    state, metrics = lowered.out_info
    replicates = resolved.run.replicates
    for name, leaf in metrics.items():
        assert leaf.shape[:1] == (replicates,), f"{name} must have a leading axis of {replicates} replicates"
        assert len(leaf.shape) <= 2, f"{name} has more than one axis beside the replicates"
    given = jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), program.abstract_args[1])
    assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), state) == given, "advance must keep the state's layout"
