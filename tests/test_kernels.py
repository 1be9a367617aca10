"""Every kernel is found by its folder and gets the same tests; a folder that lacks what they need fails here.

Costs and compilation for chips are in `tests/aot/test_kernels_aot.py`; what is particular to one kernel is in
`tests/pallas_kernels/<kernel>/`.
"""

import functools
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.pallas import tpu as pltpu

from pallas_kernels import _discover
from pallas_kernels._lab import budgets
from pallas_kernels._lab.chips import CHIPS

KERNELS = _discover.kernels()
FOUND = {
    (kernel, example.name): example for kernel in KERNELS for example in _discover.load(kernel, "cases").examples()
}
EXAMPLES = [pytest.param(*key, example, id="-".join(key)) for key, example in FOUND.items()]
each_example = pytest.mark.parametrize(("kernel", "name", "example"), EXAMPLES)


@functools.cache
def expected(kernel, name):
    """What the reference gives, computed once for all tests of an example."""
    example = FOUND[kernel, name]
    return example.call(*example.args, impl="reference")


@functools.cache
def traced(kernel, name):
    """The operation as users call it, traced once for all platforms."""
    example = FOUND[kernel, name]
    return jax.jit(lambda *args: example.call(*args, impl=None)).trace(*example.args)


@pytest.mark.parametrize("kernel", KERNELS)
def test_nothing_is_missing(kernel):
    assert _discover.lacking(kernel) == []


@pytest.mark.parametrize("kernel", KERNELS)
def test_every_case_has_a_budget_on_every_chip(kernel):
    """The figures are compared where the compiler is at hand; that they exist is checked everywhere."""
    stored = {budgets.key(row) for row in budgets.stored()["rows"]}
    missing = [entry.id for entry in budgets.budgeted(kernel) if entry.id not in stored]
    assert not missing, f"store them by: {budgets.ACCEPT}"


def gap(got, expected):
    """Largest difference over all leaves, relative to a leaf's largest value where that exceeds 1; NaN is infinite."""
    found = 0.0
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        a, b = (np.asarray(v, np.float64) for v in (a, b))
        assert a.shape == b.shape
        largest = np.max(np.abs(a - b), initial=0.0) / max(1.0, np.max(np.abs(b), initial=0.0))
        found = max(found, np.inf if np.isnan(largest) else largest)
    return found


@each_example
def test_interpreted_kernel_equals_the_reference(kernel, name, example):
    got = example.call(*example.args, impl="pallas_interpret")
    assert gap(got, expected(kernel, name)) <= example.tolerance


@each_example
def test_no_race_and_no_uninitialised_read(kernel, name, example, capfd):
    strict = pltpu.InterpretParams(detect_races=True, uninitialized_memory="nan")
    got = example.interpret(*example.args, strict)
    assert gap(got, expected(kernel, name)) <= example.tolerance
    assert "RACE DETECTED" not in "".join(capfd.readouterr())  # jax 0.10 prints it, later ones raise


@each_example
def test_derivatives_equal_those_of_the_reference(kernel, name, example):
    """In the direction of random cotangents, so that every output counts."""
    if not example.differentiable:
        pytest.skip(_discover.load(kernel, "cases").NOT_DIFFERENTIABLE)

    def scalar(impl):
        def total(*some):
            args = list(example.args)
            for position, value in zip(example.differentiable, some, strict=True):
                args[position] = value
            leaves = jax.tree.leaves(example.call(*args, impl=impl))
            keys = jax.random.split(jax.random.key(0), len(leaves))
            pairs = ((leaf, jax.random.normal(key, leaf.shape)) for leaf, key in zip(leaves, keys, strict=True))
            return sum(jnp.sum(leaf * cotangent) for leaf, cotangent in pairs)

        positions = tuple(range(len(example.differentiable)))
        return jax.jit(jax.grad(total, positions))(*(example.args[position] for position in example.differentiable))

    # A derivative adds up as many roundings as the value, and then those of its own chain.
    assert gap(scalar("pallas_interpret"), scalar("reference")) <= 10 * example.tolerance


@pytest.mark.parametrize("platform", ["cpu", "cuda", "tpu"])
@each_example
def test_the_kernel_is_lowered_for_a_tpu_alone(kernel, name, example, platform):
    text = traced(kernel, name).lower(lowering_platforms=(platform,)).as_text()
    assert ("tpu_custom_call" in text) == (platform == "tpu")


def test_the_chips_with_budgets_are_those_the_compiler_simulates():
    chips = {row["chip"] for row in budgets.stored()["rows"]}
    assert chips == {name for name, chip in CHIPS.items() if chip.simulated}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A package of kernels of its own."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "strange_kernels" / "twice").mkdir(parents=True)
    for package in ("strange_kernels", "strange_kernels/twice"):
        (tmp_path / package / "__init__.py").write_text("")
    yield tmp_path / "strange_kernels" / "twice"
    for name in [name for name in sys.modules if name.startswith("strange_kernels")]:
        del sys.modules[name]


def test_a_bare_folder_lacks_everything(folder):
    found = _discover.lacking("twice", "strange_kernels")
    assert found == [f"twice/{part}.py is missing" for part in ("api", "reference", "kernel_tpu", "cases", "bench")]


def test_a_kernel_must_have_examples_and_say_why_it_has_no_derivative(folder):
    for part, names in {
        "api": ("twice", "explain"),
        "reference": ("twice",),
        "kernel_tpu": ("twice",),
        "bench": ("cases",),
    }.items():
        (folder / f"{part}.py").write_text("".join(f"def {name}(): ...\n" for name in names))
    (folder / "cases.py").write_text("def cases(): return ()\ndef examples(): return ()\n")
    assert _discover.lacking("twice", "strange_kernels") == ["twice/kernel_tpu.py lacks unsupported"]
    (folder / "kernel_tpu.py").write_text("def twice(): ...\ndef unsupported(): ...\n")
    for name in [name for name in sys.modules if name.startswith("strange_kernels.")]:
        del sys.modules[name]
    assert _discover.lacking("twice", "strange_kernels") == [
        "twice/cases.py: cases() is empty",
        "twice/cases.py: examples() is empty",
        "twice/cases.py: no example is differentiable and NOT_DIFFERENTIABLE gives no reason",
    ]


def row(**changes):
    return {"kernel": "twice", "case": "small", "chip": "v5e", "impl": "kernel", "cycles": 103.0, "units": 1.0,
            "per": "call"} | changes  # fmt: skip


def test_a_budget_may_be_passed_by_three_per_cent_and_no_more():
    assert budgets.compare(row(), row(cycles=100.0)) is None
    why = budgets.compare(row(cycles=103.1), row(cycles=100.0))
    assert "twice/small/v5e/kernel takes 103.1 cycles per call, +3.1% against its budget of 100" in why
    assert budgets.ACCEPT in why
    assert "\n" not in why


def test_a_case_without_a_budget_is_told_how_to_get_one():
    assert budgets.compare(row(), None) == f"twice/small/v5e/kernel has no budget; store one by: {budgets.ACCEPT}"


def test_xla_may_change_its_own_schedule():
    assert budgets.compare(row(impl="xla", cycles=200.0), row(impl="xla", cycles=100.0)) is None
