"""Every config builds, says how to run it, names an experiment that exists, and is what it was."""

import ast
import importlib.util
from pathlib import Path

import pytest

from experiments.lib import config as config_lib
from experiments.lib import points
from experiments.lib.config import CHECKOUT
from experiments.lib.errors import UsageError


def _golden():
    spec = importlib.util.spec_from_file_location("golden_make", CHECKOUT / "tests/golden/make.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


GOLDEN = _golden()
CONFIGS = GOLDEN.config_files()
SWEEPS = [path for path in config_lib.files() if path.parent.name == "sweeps"]


def name(path: Path) -> str:
    return str(path.relative_to(CHECKOUT / "configs"))


@pytest.fixture(params=CONFIGS, ids=name)
def path(request):
    return request.param


def test_there_are_configs():
    assert CONFIGS


def test_it_resolves_to_its_golden_dump(path):
    golden = GOLDEN.golden_path(path)
    assert golden.exists(), "python tests/golden/make.py configs"
    assert GOLDEN.dump(path) == golden.read_text(), "if this is meant: python tests/golden/make.py configs"


def test_no_golden_dump_is_left_over():
    kept = {GOLDEN.golden_path(path) for path in CONFIGS}
    assert set((CHECKOUT / "tests/golden/configs").glob("*.json")) == kept


def test_its_experiment_exists_and_is_of_its_family(path):
    experiment = config_lib.resolve(str(path)).config.experiment
    assert (CHECKOUT / "experiments" / Path(*experiment.split("."))).with_suffix(".py").is_file()
    assert experiment.split(".")[0] == path.relative_to(CHECKOUT / "configs").parts[0]


def test_its_docstring_says_how_to_run_it(path):
    """And the command in it is one that this config answers to."""
    described = ast.get_docstring(ast.parse(path.read_text())) or ""
    experiment = config_lib.resolve(str(path)).config.experiment
    assert f"python -m experiments.{experiment}" in described
    assert f"--config={path.relative_to(CHECKOUT)}" in described or _is_default(path, experiment)


def _is_default(path: Path, experiment: str) -> bool:
    return path.stem == experiment.rpartition(".")[2]


def test_it_imports_ml_collections_only(path):
    imported = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(node.module.split(".")[0])
    assert imported <= {"ml_collections"}


def test_unknown_fields_are_refused(path):
    with pytest.raises(UsageError, match=r"no field config\.run\.num_stpes; nearest: config\.run\.num_steps"):
        config_lib.resolve(str(path), {"run.num_stpes": 8})


def test_unknown_arguments_are_refused(path):
    with pytest.raises(UsageError):
        config_lib.resolve(f"{path}:quik")


def test_the_hash_follows_the_numbers(path):
    base = config_lib.resolve(str(path))
    assert config_lib.resolve(str(path)).directory == base.directory
    assert config_lib.resolve(str(path), {"seed": base.config.seed + 1}).directory != base.directory


@pytest.mark.parametrize("path", SWEEPS, ids=name)
def test_every_sweep_expands(path):
    found = points.expand(str(path))
    assert len({point.resolved.directory for point in found}) == len(found) > 1
