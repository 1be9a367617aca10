"""What the command line says, how it ends, and that it says it before jax is imported."""

import resource
import subprocess
import sys

import numpy as np
import pytest

from experiments.lib import errors
from experiments.lib.config import CHECKOUT

CONFIG = "tests/experiments/toy/configs/walk.py"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config.problem.drfit=1"], "no field config.problem.drfit; nearest: config.problem.drift."),
        (["--config.problm.drift=1"], "no field config.problm.drift; nearest: config.problem.drift."),
        (["--config.num_steps=8"], "no field config.num_steps; nearest: config.run.num_steps."),
        (["--config.sed=8"], "no field config.sed; nearest: config.seed."),
        (["--config.zzzzzz=8"], "no field config.zzzzzz."),
        (["--config.problem.drift=much"], "config.problem.drift must be a float, got 'much'."),
        (["--config.seed=1.5"], "config.seed must be an int, got 1.5."),
        (["--config.seed=True"], "config.seed must be an int, got True."),
        (["--config.seed"], "config.seed must be an int, got True."),
        (["--config.numerics.x64=2"], "config.numerics.x64 must be a bool, got 2."),
        (["--config.problem=3"], "config.problem is a section; its fields are config.problem.breaks, "),
        (["--config.run.num_steps=63"], "config.run.num_steps must be a multiple of config.run.chunk=4, got 63"),
        (["--config.run.replicates=0"], "config.run.replicates must be an int >= 1, got 0."),
        (["--config.numerics.matmul_precision=low"], "config.numerics.matmul_precision must be one of default, high"),
        (["--config=tests/experiments/toy/configs/wlk.py"], "no config tests/experiments/toy/configs/wlk.py"),
        ([f"--config={CONFIG}:quik"], "walk.py takes the arguments quick, got 'quik'."),
        (["--roto=here"], "Unknown command line flag 'roto'. Did you mean: root"),
        (["--cpu_devices=many"], "flag --cpu_devices=many"),
        (["--mesh=reps:8"], "--mesh axes are rep, data, model, got 'reps' in 'reps:8'."),
        (["--mesh=rep:0"], "--mesh sizes are positive, or -1 for the rest, got 'rep:0' in 'rep:0'."),
        (["--mesh=rep:3"], "--mesh axis rep:3 must divide run.replicates, got 8;"),
        (["--mesh=rep:-1,data:-1"], "--mesh can leave one size open with -1"),
        (["stray"], "unexpected argument 'stray'"),
        (["--data_dir=/no/such/folder"], "--data_dir: there is no /no/such/folder."),
        (["--adult_reconstruction=/no/such/file"], "--adult_reconstruction: there is no /no/such/file."),
    ],
)
def test_a_wrong_command_is_one_line_and_exit_code_2(launch, root, arguments, message):
    ended = launch(*arguments)
    assert ended.code == 2
    assert ended.out == ""
    assert ended.err.startswith(f"error: {message}")
    assert ended.err.count("\n") == 1
    assert not root.exists()


def test_the_config_must_be_of_this_experiment(launch):
    ended = launch(module="experiments.toy.jump")
    assert ended.code == 2
    assert "is a config of toy.walk; run python -m experiments.toy.walk --config=" in ended.err


@pytest.mark.parametrize(
    ("arguments", "drift"),
    [
        (["--config.problem.drift=2"], 2.0),
        (["--config.problem.drift", "-2.5"], -2.5),
        (["--config.problem.drift=1", "--config.problem.drift=3"], 3.0),
        ([f"--config={CONFIG}:quick", "--config.problem.drift=4", "--quiet"], 4.0),
    ],
)
def test_overrides_reach_main(launch, arguments, drift):
    seen = []

    def main(config, run, mesh):
        seen.append(config.problem.drift)
        run.log(config.run.num_steps, {"x": [0.0]})

    assert launch(*arguments, main=main).code == 0
    assert seen == [drift]


def test_switches_can_be_written_without_a_value(launch):
    seen = []

    def main(config, run, mesh):
        seen.append(config.numerics.x64)
        run.log(1, {"x": [0.0]})

    assert launch("--config.numerics.x64", main=main).code == 0
    assert launch("--config.numerics.x64", "--noconfig.numerics.x64", main=main).code == 0
    assert seen == [True, False]


def test_numerics_are_set_before_main(launch):
    def main(config, run, mesh):
        import jax
        import jax.numpy as jnp

        assert jnp.zeros(1).dtype == jnp.float64
        assert jax.config.jax_default_matmul_precision == "highest"
        assert jax.config.jax_default_prng_impl == "threefry2x32"
        run.log(1, {"x": [0.0]})

    assert launch("--config.numerics.x64=true", main=main).code == 0


@pytest.mark.parametrize("arguments", [["--help"], ["--roto=1"], ["--config.sed=1"], ["--config.seed=x"]])
def test_answers_without_jax(environment, arguments):
    script = (
        "import sys, runpy\n"
        "sys.argv = ['walk', *sys.argv[1:]]\n"
        "try: runpy.run_path('tests/experiments/toy/walk.py', run_name='__main__')\n"
        "except SystemExit as end: code = end.code\n"
        "heavy = {'jax', 'numpy', 'scipy', 'orbax', 'matplotlib', 'rich'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "sys.exit(code)"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], cwd=CHECKOUT, env=environment, text=True, capture_output=True
    )
    assert done.returncode == (0 if arguments == ["--help"] else 2), done.stderr
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.5  # seconds of CPU
    said = done.stdout if arguments == ["--help"] else done.stderr
    assert ("--checkpoint_minutes" in said) == (arguments == ["--help"])
    assert "Traceback" not in done.stderr


def test_two_experiments_of_one_process_share_no_flags(launch):
    def main(config, run, mesh):
        run.log(1, {"x": [0.0]})

    assert launch("--config.seed=1", main=main).code == 0
    assert launch(main=main).path != launch("--config.seed=1", main=main).path


def test_an_unexpected_error_keeps_its_traceback_and_is_recorded(launch, root):
    def main(config, run, mesh):
        raise KeyError("lost")

    with pytest.raises(KeyError):
        launch(main=main)
    (folder,) = root.glob("toy/walk/*")
    assert "KeyError" in (folder / "log.txt").read_text()
    assert '"why": "KeyError: \'lost\'"' in (folder / "meta.json").read_text()


def test_a_refused_argument_is_one_line_with_the_traceback_in_the_log(launch, root):
    def main(config, run, mesh):
        raise ValueError("Params.num_steps must be >= 1, got 0.")

    ended = launch(main=main)
    (folder,) = root.glob("toy/walk/*")
    assert ended.code == 1
    assert ended.err == f"error: Params.num_steps must be >= 1, got 0. [traceback in {folder}/log.txt]\n"
    assert "Traceback" in (folder / "log.txt").read_text()


def _host_memory(config, run, mesh):
    np.empty(1 << 57)


def _device_memory(config, run, mesh):
    import jax.numpy as jnp

    jnp.zeros(1 << 55)


@pytest.mark.parametrize(
    ("main", "message"),
    [
        (_host_memory, "Unable to allocate 1.00 EiB for an array with shape"),
        (_device_memory, "RESOURCE_EXHAUSTED: Out of memory allocating 144115188075855872 bytes."),
    ],
)
def test_too_little_memory_is_one_line(launch, root, main, message):
    ended = launch(main=main)
    (folder,) = root.glob("toy/walk/*")
    assert ended.code == 1
    assert ended.err.startswith(f"error: {folder}: too little memory: {message}")
    assert ended.err.count("\n") == 1
    assert '"status": "failed"' in (folder / "meta.json").read_text()
    assert "Traceback" in (folder / "log.txt").read_text()


def test_exit_codes_are_told_apart():
    assert {errors.Stop.exit_code, errors.UsageError.exit_code, errors.EXIT_FAILED_REPLICATES} == {1, 2, 3}
    assert errors.Interrupted(15).exit_code == 143
