"""The accelerator laboratory: programs compiled, scheduled and costed for TPUs and GPUs that are not there.

`compile_for(fn, args, "v5e:16x16", mesh)` says whether a program compiles, fits and communicates;
`cost(fn, args, "v5e")` adds the compiler's simulation of its schedule. Both work on any Linux machine with the
compiler's wheel and answer with a `Report`. What they tell is a model and not a measurement.
"""

from pallas_kernels._lab.chips import CHIPS, Target, slices_of, target
from pallas_kernels._lab.costing import compile_for, cost
from pallas_kernels._lab.report import LabError, Report

__all__ = ["CHIPS", "LabError", "Report", "Target", "compile_for", "cost", "slices_of", "target"]
