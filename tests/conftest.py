"""Every test runs on the CPU, with strict promotion, warnings as errors and no window.

`JAX_PLATFORMS=cuda python -m pytest -m gpu` and its like choose another platform. No compile cache is set: it writes
entries in place, and a test process that reads one half-written would warn, which is an error here.

Most of the time would go to the compilation of programs that run once on a few numbers: they are compiled without
LLVM's optimisation and by XLA's older emitters of loops, which saves up to two thirds of the work. What users get is
tested by `make figures`, which checks every claim, by what runs in a process of its own here (experiments, kernels for
chips), by tests marked `optimized`, which are about bits, and by those marked `slow`; and by every test under
`JAX_DISABLE_MOST_OPTIMIZATIONS=0 make unit`.
"""

import collections
import contextlib
import fcntl
import functools
import importlib
import inspect
import os
from pathlib import Path

from experiments.lib import backend

# Before jax and NumPy are imported. Of those for libtpu only ALLOW_MULTIPLE_LIBTPU_LOAD changes function: without it
# two test processes cannot both load it; the others keep its start-up quiet. NumPy on one thread, as in experiments.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.update(MPLBACKEND="Agg", **backend.ONE_THREAD)
if os.environ["JAX_PLATFORMS"] == "cpu":
    os.environ.update(backend.NO_TPU)

import jax
import pytest
from jax._src import compiler  # no public setting reaches the compilation of every single operation

from experiments.lib import app
from experiments.lib import config as config_lib

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_default_prng_impl", "threefry2x32")
jax.config.update("jax_threefry_partitionable", True)

#: Marks of tests that are compiled as for users.
AS_SHIPPED = ("optimized", "slow", "multi_device", "tpu_aot", "gpu", "tpu")
#: Whether the choice is ours: on the CPU, unless the environment has made it.
CHOOSE = os.environ["JAX_PLATFORMS"] == "cpu" and "JAX_DISABLE_MOST_OPTIMIZATIONS" not in os.environ


#: XLA's older emitters of loops on the CPU take half the time to compile, and give the same values to rounding.
OLDER_EMITTERS = ("xla_cpu_use_fusion_emitters", False)
#: What `jax_disable_most_optimizations` sets, for one program.
PLAINLY = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}


def _optimize(effort):
    jax.config.update("jax_disable_most_optimizations", not effort)
    return effort


def _emitters_known():
    """Whether this compiler still has both."""
    try:
        jax.jit(lambda x: x).lower(0.0).compile(compiler_options=dict([OLDER_EMITTERS]))
    except jax.errors.JaxRuntimeError:
        return False
    return True


def _with_older_emitters(options, effort):
    """`options()` of a compilation, with the older emitters while `effort` is `[False]`."""

    @functools.wraps(options)
    def chosen(*args, **kwargs):
        found = options(*args, **kwargs)
        if effort == [False]:
            found.env_option_overrides = [*found.env_option_overrides, OLDER_EMITTERS]
        return found

    return chosen


def pytest_collection_modifyitems(items):
    """The longest files first: begun last, one would run alone on one core. In a file, tests of one effort together."""
    place = {path: number for number, path in enumerate(dict.fromkeys(item.path for item in items))}
    items.sort(key=lambda item: (not _is_long(item.path.name), place[item.path], _as_shipped(item)))


def _is_long(name):
    return name.endswith("_figures.py") or name in ("test_conformance.py", "test_programs.py", "test_kernels.py")


def pytest_terminal_summary(terminalreporter):
    """Where the time of the tests goes, by file."""
    seconds = collections.Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            if hasattr(report, "duration") and hasattr(report, "when"):
                seconds[report.nodeid.partition("::")[0]] += report.duration
    if len(seconds) > 1:
        terminalreporter.section(f"{sum(seconds.values()):.0f} s of tests, by file")
        for path, spent in seconds.most_common(40):
            terminalreporter.write_line(f"{spent:8.1f} s  {path}")


def _as_shipped(item):
    return any(item.get_closest_marker(mark) for mark in AS_SHIPPED)


@pytest.fixture(autouse=True, scope="session")
def _effort():
    """What compilation is set to; off from the start, for fixtures of modules, which come before the tests."""
    effort = [_optimize(False) if CHOOSE else None]
    with pytest.MonkeyPatch.context() as patch:
        if CHOOSE and _emitters_known():
            options = _with_older_emitters(compiler.get_compile_options, effort)
            patch.setattr(compiler, "get_compile_options", options)
        yield effort


@pytest.fixture(scope="session")
def plainly():
    """`plainly(function, *args)`: the function, compiled for arguments like these as most tests are. For what a test
    marked `optimized` compares to rounding only."""
    options = dict([OLDER_EMITTERS], **PLAINLY) if CHOOSE and _emitters_known() else {}
    return lambda function, *args: jax.jit(function).lower(*args).compile(compiler_options=options)


@pytest.fixture(autouse=True)
def _optimization(request, _effort):
    """The compiler's effort for one test; no program compiled with another effort takes part in it."""
    wanted = _as_shipped(request.node)
    if CHOOSE and [wanted] != _effort:
        jax.clear_caches()
        _effort[:] = [_optimize(wanted)]


@pytest.fixture
def x64():
    """Double precision for one test."""
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="session")
def quick_root(tmp_path_factory):
    """Root of the quick runs, one for all tests and for all test processes."""
    base = tmp_path_factory.getbasetemp()
    return (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "quick"


@pytest.fixture(scope="session")
def check_public_names():
    """`check_public_names(module)`: what is public is listed and has a docstring, and the module names its source."""

    def check(module):
        own = {
            name
            for name, value in vars(module).items()
            if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
        }
        assert own <= set(module.__all__), f"public but not listed: {sorted(own - set(module.__all__))}"
        for name in module.__all__:
            assert hasattr(module, name)
            value = getattr(module, name)
            if callable(value):
                assert inspect.getdoc(value), f"{module.__name__}.{name} has no docstring"
        assert "Source:" in module.__doc__

    return check


@pytest.fixture(scope="session")
def quick_run(quick_root):
    """`quick_run(reference) -> (exit code, run directory)`: a config's run, done in this process unless it is there.

    A process of its own would mostly start. Where another test process is at the same run, it is waited for.
    """
    return lambda reference: _quick_run(reference, quick_root)


def _quick_run(reference: str, root: Path) -> tuple[int, Path]:
    resolved = config_lib.resolve(reference)
    module = f"experiments.{resolved.config.experiment}"
    given = [f"--config={reference}", f"--root={root}", "--compile_cache=off", "--quiet"]
    root.mkdir(parents=True, exist_ok=True)
    with open(root / f"{resolved.directory.name}.lock", "w") as lock, _restored():
        fcntl.flock(lock, fcntl.LOCK_EX)
        code = app.launch(importlib.import_module(module).main, given, default_config=reference, module=module)
    return code, root / resolved.directory


@contextlib.contextmanager
def _restored():
    """Puts back what a run sets for its process. The working tree may be edited while tests run: one revision."""
    names = ("jax_enable_x64", "jax_default_matmul_precision", "jax_default_prng_impl", "jax_threefry_partitionable")
    before, revision = {name: getattr(jax.config, name) for name in names}, os.environ.get("EQUIPOISE_REVISION")
    os.environ["EQUIPOISE_REVISION"] = "as-tested"
    try:
        yield
    finally:
        for name, value in before.items():
            jax.config.update(name, value)
        del os.environ["EQUIPOISE_REVISION"]
        if revision is not None:
            os.environ["EQUIPOISE_REVISION"] = revision
