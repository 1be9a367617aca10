"""Every kernel compiles for chips that are not there, fits, and keeps its budget of cycles."""

import jax
import pytest

from pallas_kernels import _discover
from pallas_kernels._lab import budgets, compile_for
from pallas_kernels._lab.chips import CHIPS

pytestmark = pytest.mark.tpu_aot
KERNELS = _discover.kernels()


#: One of each family; the others are left to the slow tests, but for a kernel's first case, which is held on all.
FIRST_CHIPS = ("v5e", "v6e")


def examples():
    for kernel in KERNELS:
        example = _discover.load(kernel, "cases").examples()[0]
        for chip in CHIPS:
            marks = () if chip in FIRST_CHIPS else pytest.mark.slow
            yield pytest.param(example, chip, id=f"{kernel}-{example.name}-{chip}", marks=marks)


def entries():
    for entry in budgets.budgeted():
        if entry.impl == "kernel":
            first = _discover.load(entry.kernel, "cases").cases()[0].name == entry.case.name
            slow = entry.case.slow or not (first or entry.chip in FIRST_CHIPS)
            yield pytest.param(entry, id=entry.id, marks=pytest.mark.slow if slow else ())


@pytest.mark.parametrize(("example", "chip"), list(examples()))
def test_the_public_function_compiles_and_fits(compiler, example, chip):
    args = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), example.args)
    report = compile_for(lambda *args: example.call(*args, impl=None), args, chip)
    assert report.fits, report.why_not
    assert report.kernels, "the compiled program has no kernel of ours"


@pytest.mark.parametrize("entry", list(entries()))
def test_a_kernel_keeps_its_budget(compiler, entry):
    stored = budgets.stored()
    if stored["compiler"] != compiler:
        pytest.skip(f"budgets are of {stored['compiler']}, this is {compiler}: no comparison")
    report = entry.cost()
    old = {budgets.key(row): row for row in stored["rows"]}.get(entry.id)
    why = budgets.compare(budgets.row(entry, report), old)
    assert why is None, why
    assert report.method == "simulated"
    assert all(kernel.cycles and kernel.occupancy for kernel in report.kernels)
