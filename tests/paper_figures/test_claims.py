"""Verdicts, and the files that hold the published numbers."""

import json
import math

import pytest

from paper_figures import claims
from paper_figures.claims import AGREES, DIFFERS, NOT_TESTABLE, Claim, Measured

PUBLISHED = 2.0


def a_claim(relation="=", tolerance=0.5, name="loss"):
    tolerances = {"quick": None, "default": tolerance, "paper": 0.0}
    return Claim(name, "a loss", PUBLISHED, "table 1", "", tolerances, relation)


def ours(value):
    return Measured(value, value - 1, value + 1, 3)


@pytest.mark.parametrize(
    ("relation", "value", "expected"),
    [
        ("=", 2.5, AGREES),
        ("=", 1.5, AGREES),
        ("=", 2.51, DIFFERS),
        ("=", 1.49, DIFFERS),
        ("<=", 2.5, AGREES),
        ("<=", 2.51, DIFFERS),
        ("<=", -100.0, AGREES),
        (">=", 1.5, AGREES),
        (">=", 1.49, DIFFERS),
        (">=", 100.0, AGREES),
        ("=", math.nan, DIFFERS),
        ("<=", -math.inf, DIFFERS),
        (">=", math.inf, DIFFERS),
    ],
)
def test_the_tolerance_is_the_largest_admitted_distance_on_the_wrong_side(relation, value, expected):
    assert claims.verdict(a_claim(relation), ours(value), "default") == expected


def test_a_form_without_a_tolerance_tests_nothing_and_one_with_zero_tests_equality():
    assert claims.verdict(a_claim(), ours(100.0), "quick") == NOT_TESTABLE
    assert claims.verdict(a_claim(), None, "quick") == NOT_TESTABLE
    assert claims.verdict(a_claim(), ours(2.0), "paper") == AGREES
    assert claims.verdict(a_claim(), ours(2.0 + 1e-12), "paper") == DIFFERS


def test_what_was_not_measured_differs():
    assert claims.verdict(a_claim(), None, "default") == DIFFERS


def test_every_claim_is_judged_in_the_order_of_the_file():
    judged = claims.judge("f", [a_claim(name="b"), a_claim(name="a")], {"a": ours(2.0), "b": ours(9.0)}, "default")
    assert [(one.claim.id, one.verdict) for one in judged] == [("b", DIFFERS), ("a", AGREES)]


def test_a_measurement_that_nobody_claims_is_an_error():
    with pytest.raises(ValueError, match="f measures lossy, which its expected claims do not name"):
        claims.judge("f", [a_claim()], {"loss": ours(2.0), "lossy": ours(2.0)}, "default")


def test_a_testable_claim_that_is_not_measured_is_an_error_and_another_one_is_not():
    with pytest.raises(ValueError, match="f does not measure loss, which its default form can test"):
        claims.judge("f", [a_claim()], {}, "default")
    assert claims.judge("f", [a_claim()], {}, "quick")[0].verdict == NOT_TESTABLE


def test_an_unknown_form_is_an_error():
    with pytest.raises(ValueError, match="form must be one of quick, default, paper, got 'pod'"):
        claims.judge("f", [], {}, "pod")


ENTRY = a_claim()._asdict()


def test_claims_are_read_from_json_and_the_relation_may_be_left_out(tmp_path):
    path = tmp_path / "f.json"
    path.write_text(json.dumps({"claims": [{k: v for k, v in ENTRY.items() if k != "relation"}]}))
    assert claims.read(path) == [a_claim()]
    assert claims.read(tmp_path / "none.json") == []


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([ENTRY | {"relation": "<"}], "relation of loss must be one of"),
        ([ENTRY | {"published": None}], "published and tolerances of loss must be finite"),
        ([ENTRY | {"published": True}], "published and tolerances of loss must be finite"),
        ([ENTRY | {"tolerance": {"quick": None}}], "tolerance of loss must have quick, default, paper"),
        ([ENTRY | {"tolerance": {"quick": None, "default": -1.0, "paper": 1.0}}], "tolerances of loss must be >= 0"),
        ([ENTRY | {"extra": 1}], "extra"),
        ([ENTRY, ENTRY], "names a claim twice: loss"),
        ([{"id": "loss"}], "missing"),
    ],
)
def test_a_malformed_file_is_named(tmp_path, entries, message):
    path = tmp_path / "f.json"
    path.write_text(json.dumps({"claims": entries}))
    with pytest.raises(ValueError, match=message) as caught:
        claims.read(path)
    assert str(path) in str(caught.value)


def test_measured_is_students_interval():
    found = claims.measured([1.0, 2.0, 3.0])
    assert found.value == pytest.approx(2.0)
    assert found.high - 2.0 == pytest.approx(4.302652729911275 / math.sqrt(3))  # t quantile, 2 degrees of freedom
    assert claims.measured([1.0]) == (1.0, -math.inf, math.inf, 1)
