"""The problems that configs name: Gaussian walks, and the published one with t noise."""

__all__ = ["named"]


def named(name: str, dtype):
    """A problem of `research.mlmc` with a known value.

    Args:
      name: of `walks.NAMES`, or "T" for the t noise.
    """
    from research.mlmc import student, walks

    return student.student_noise() if name == "T" else walks.walk(name, dtype)
