"""A sweep is a list of ordinary runs."""

import shlex

import pytest

from experiments import sweep
from experiments.lib import config as config_lib
from experiments.lib.errors import UsageError

CONFIG = "tests/experiments/toy/configs/walk.py"
H = sweep.Helpers()


@pytest.fixture
def sweep_file(tmp_path):
    def write(body, head=f"CONFIG = {CONFIG!r}"):
        path = tmp_path / "sweep.py"
        path.write_text(f"{head}\ndef get_sweep(h):\n    return {body}\n")
        return str(path)

    return write


def test_product_varies_the_last_factor_fastest():
    assert H.product({"seed": range(2), "algo.step": (0.1, 0.2)}) == [
        {"seed": 0, "algo.step": 0.1}, {"seed": 0, "algo.step": 0.2},
        {"seed": 1, "algo.step": 0.1}, {"seed": 1, "algo.step": 0.2},
    ]  # fmt: skip


def test_zipped_fields_are_one_factor():
    pairs = H.zipped({"a": (1, 2), "b": (10, 20)})
    assert pairs == [{"a": 1, "b": 10}, {"a": 2, "b": 20}]
    assert len(H.product({"seed": range(3)}, pairs)) == 6
    assert H.product(pairs, {"seed": (7,)})[0] == {"a": 1, "b": 10, "seed": 7}


def test_products_nest():
    inner = H.product({"a": (1, 2)}, {"b": (3, 4)})
    assert len(H.product(inner, {"c": range(5)})) == 20


def test_unequal_lengths_are_refused():
    with pytest.raises(UsageError, match="equally many values, got {'a': 2, 'b': 1}"):
        H.zipped({"a": (1, 2), "b": (3,)})


def test_a_field_set_twice_is_refused():
    with pytest.raises(UsageError, match="two factors of the sweep set seed"):
        H.product({"seed": range(2)}, H.zipped({"seed": (3,)}))


def test_points_are_ordinary_runs(sweep_file):
    points = sweep.expand(sweep_file('h.product({"seed": range(2), "problem.drift": (0.5, 1)})'))
    assert [point.overrides["seed"] for point in points] == [0, 0, 1, 1]
    for point in points:
        program, *arguments = shlex.split(point.command)[2:]
        assert program == "experiments.toy.walk"
        assert arguments[0] == f"--config={CONFIG}"
        typed = dict(argument.removeprefix("--config.").split("=") for argument in arguments[1:])
        assert config_lib.resolve(CONFIG, typed).directory == point.resolved.directory


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ('h.product({"sed": range(2)})', "no field config.sed; nearest: config.seed."),
        ('h.product({"seed": (0.5,)})', "config.seed must be an int, got 0.5."),
        ('h.product({"run.num_steps": (63,)})', "config.run.num_steps must be a multiple"),
        ('h.product({"seed": (3, 3)})', "has two equal points"),
        ('h.product({"seed": ()})', "has no points"),
    ],
)
def test_bad_points_are_one_line(sweep_file, capsys, body, message):
    assert sweep.main([sweep_file(body)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert err.count("\n") == 1


def test_a_sweep_names_its_config(sweep_file):
    with pytest.raises(UsageError, match="must name the config that it varies"):
        sweep.expand(sweep_file('h.product({"seed": range(2)})', head=""))


def test_the_list_shows_what_is_done(sweep_file, launch, root, capsys):
    reference = sweep_file('h.product({"seed": range(3)}, {"run.num_steps": (4,)})')
    done = launch("--config.seed=1", "--config.run.num_steps=4")
    assert sweep.main([reference, "--list", f"--root={root}"]) == 0
    states = {line.split()[1]: line.split()[0] for line in capsys.readouterr().out.splitlines()}
    assert sorted(states.values()) == ["done", "missing", "missing"]
    assert states[str(done.path)] == "done"
    assert sweep.main([reference, f"--root={root}"]) == 0
    commands = capsys.readouterr().out.splitlines()
    assert len(commands) == 2
    assert all(f"--root={root}" in shlex.split(command) for command in commands)
