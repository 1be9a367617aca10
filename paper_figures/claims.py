"""Published numbers, what we measured, and whether the two agree.

`expected/<figure>.json` holds `{"claims": [{"id", "claim", "published", "source", "unit", "tolerance", "relation"}]}`;
`tolerance` has an entry per form (quick, default, paper), null where a run of that form cannot test the claim;
`relation` is "=" (the default), "<=" or ">=": ours stands on the left, the published number on the right.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from experiments.lib.tables import Measured, measured

__all__ = [
    "AGREES", "DIFFERS", "FORMS", "NOT_TESTABLE", "Claim", "Judged", "Measured", "judge", "measured", "read", "verdict",
]  # fmt: skip

FORMS = ("quick", "default", "paper")
RELATIONS = ("=", "<=", ">=")

AGREES, DIFFERS, NOT_TESTABLE = "agrees", "differs", "not testable at this size"


class Claim(NamedTuple):
    """A published number.

    Attributes:
      id: the key under which the figure reports its measurement.
      claim: what is claimed, in words.
      published: the number.
      source: paper and table, figure or theorem.
      unit: of the number; "" for a pure one.
      tolerance: form -> largest admitted distance on the wrong side, or None if the form cannot test it.
      relation: "=", "<=" or ">=".
    """

    id: str
    claim: str
    published: float
    source: str
    unit: str
    tolerance: Mapping[str, float | None]
    relation: str = "="


class Judged(NamedTuple):
    """A claim beside our measurement (None where the form does not measure it)."""

    figure: str
    claim: Claim
    ours: Measured | None
    verdict: str


def verdict(claim: Claim, ours: Measured | None, form: str) -> str:
    """`AGREES` if ours is at most the form's tolerance away from the published number (on the wrong side of it, for a
    one-sided claim), `NOT_TESTABLE` if the form has no tolerance, else `DIFFERS`, as does a non-finite number."""
    tolerance = claim.tolerance[form]
    if tolerance is None:
        return NOT_TESTABLE
    if ours is None or not math.isfinite(ours.value):
        return DIFFERS
    excess = ours.value - claim.published
    wrong = {"=": abs(excess), "<=": excess, ">=": -excess}[claim.relation]
    return AGREES if wrong <= tolerance else DIFFERS


def judge(figure: str, claims: list[Claim], ours: Mapping[str, Measured], form: str) -> list[Judged]:
    """Every claim of a figure with its verdict.

    Raises:
      ValueError: the figure measures something that nobody claims, or not what the form can test: a misspelt id would
        otherwise never be compared.
    """
    if form not in FORMS:
        raise ValueError(f"form must be one of {', '.join(FORMS)}, got {form!r}.")
    if unknown := sorted(ours.keys() - {claim.id for claim in claims}):
        raise ValueError(f"{figure} measures {', '.join(unknown)}, which its expected claims do not name.")
    testable = (claim.id for claim in claims if claim.tolerance[form] is not None)
    if missing := [name for name in testable if name not in ours]:
        raise ValueError(f"{figure} does not measure {', '.join(missing)}, which its {form} form can test.")
    return [Judged(figure, claim, ours.get(claim.id), verdict(claim, ours.get(claim.id), form)) for claim in claims]


def read(path: Path) -> list[Claim]:
    """The claims of `expected/<figure>.json`; none if there is no such file.

    Raises:
      ValueError: the file is not of the form above.
    """
    if not path.exists():
        return []
    try:
        entries = json.loads(path.read_text())["claims"]
        claims = [_claim(entry) for entry in entries]
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{path} is not a list of claims: {type(error).__name__}: {error}") from error
    names = [claim.id for claim in claims]
    if len(set(names)) < len(names):
        raise ValueError(f"{path} names a claim twice: {', '.join(sorted({n for n in names if names.count(n) > 1}))}.")
    return claims


def _claim(entry: dict) -> Claim:
    claim = Claim(**entry)
    if set(claim.tolerance) != set(FORMS):
        raise ValueError(f"tolerance of {claim.id} must have {', '.join(FORMS)}, got {', '.join(claim.tolerance)}")
    if claim.relation not in RELATIONS:
        raise ValueError(f"relation of {claim.id} must be one of {' '.join(RELATIONS)}, got {claim.relation!r}")
    numbers = [claim.published, *(t for t in claim.tolerance.values() if t is not None)]
    if any(isinstance(n, bool) or not isinstance(n, int | float) or not math.isfinite(n) for n in numbers):
        raise ValueError(f"published and tolerances of {claim.id} must be finite numbers or null")
    if any(n < 0 for n in numbers[1:]):
        raise ValueError(f"tolerances of {claim.id} must be >= 0")
    return claim
