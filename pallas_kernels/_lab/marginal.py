"""What a longer call of a kernel costs more than a shorter one: cycles per unit without what every call costs once."""

from pallas_kernels._lab import costing
from pallas_kernels._lab.case import Case
from pallas_kernels._lab.chips import Target
from pallas_kernels._lab.report import Report, Roofline

__all__ = ["cost"]


def cost(
    case: Case, impl: str, target: str | Target, *, fresh: bool = False, timeout: float = costing.SECONDS
) -> Report:
    """Costs one side of a case, "kernel" or "xla"; with `case.shorter`, the kernel's difference of two lengths.

    Returns:
      the report of `case.args`, where cycles, arithmetic and traffic are those of `units` alone. If one of the two
      does not fit, the report of that one.

    Raises:
      LabError: as `costing.cost`.
    """
    fn, args, _ = case.side(impl)
    report = costing.cost(fn, args, target, fresh=fresh, timeout=timeout)
    if impl == "xla" or case.shorter is None or report.cycles is None:
        return report
    less = costing.cost(fn, case.shorter, target, fresh=fresh, timeout=timeout)
    return _difference(report, less) if less.fits else less


def _difference(report: Report, less: Report) -> Report:
    fields = ("cycles", "flops", "passes", "bytes")
    roofline = (a - b for a, b in zip(report.roofline, less.roofline, strict=True))
    return report._replace(
        **{field: getattr(report, field) - getattr(less, field) for field in fields},
        roofline=Roofline(*roofline),
        caveats=(*report.caveats, "less a shorter call: what every call costs once is taken off"),
    )
