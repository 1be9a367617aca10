"""From text to features: the shared steps."""

import numpy as np
import pytest

from experiments.data import design
from experiments.data.fetch import DataError


def test_min_max_scales_and_a_constant_column_becomes_zero():
    np.testing.assert_array_equal(design.min_max(np.array([2.0, 4.0, 3.0])), [0.0, 1.0, 0.5])
    np.testing.assert_array_equal(design.min_max(np.array([7.0, 7.0])), [0.0, 0.0])


def test_one_hot_of_codes_gives_the_codes_back():
    codes = design.codes_of(["b", "a", "b"], ("a", "b", "c"), "letter")
    np.testing.assert_array_equal(codes, [1, 0, 1])
    np.testing.assert_array_equal(design.one_hot(codes, 3), [[0, 1, 0], [1, 0, 0], [0, 1, 0]])


def test_an_unknown_category_is_named():
    with pytest.raises(DataError, match=r"letter must be one of a, b, got 'z'\."):
        design.codes_of(["a", "z"], ("a", "b"), "letter")


def test_cells_partition_the_records_and_leave_out_empty_combinations():
    codes = np.array([[0, 1], [1, 0], [0, 1], [0, 0]], np.int32)
    awake, names = design.cells(design.Attributes(codes, ("p", "q"), (("p0", "p1"), ("q0", "q1"))))
    assert names == ("p0 & q0", "p0 & q1", "p1 & q0")
    np.testing.assert_array_equal(awake, [[0, 1, 0], [0, 0, 1], [0, 1, 0], [1, 0, 0]])


@pytest.mark.parametrize(
    "content", [b"x,y\n1,2\n3,4\n", b"\xef\xbb\xbfy,x\r\n2,1\r\n4,3\r\n\r\n", b" x , y\n 1, 2\n3 ,4"]
)
def test_columns_are_found_by_name_whatever_the_spelling(content):
    assert design.read_columns(content, ("x", "y"), "f") == {"x": ["1", "3"], "y": ["2", "4"]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"x,z\n1,2\n", "f must have the header x,y, got x,z."),
        (b"", "f must have the header x,y, got ."),
        (b"x,y\n1,2\n1,2,3\n", "f, record 3, must have 2 fields, got 3."),
        (b"x,y\n\xff\xff,1\n", "f must be comma-separated text"),
    ],
)
def test_a_malformed_file_is_told_in_one_line(content, message):
    with pytest.raises(DataError) as caught:
        design.read_columns(content, ("x", "y"), "f")
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("column", "message"), [(["1", "two"], "age must be a number"), (["nan"], "age must be finite")]
)
def test_a_number_that_is_none_is_named(column, message):
    with pytest.raises(DataError, match=message):
        design.numbers(column, "age")


def test_a_group_of_the_wrong_size_is_named_with_both_sizes():
    with pytest.raises(DataError, match="f: group b must have 1,000 records, found 1"):
        design.check_sizes(np.array([[1.0, 0.0], [1.0, 1.0]]), ("a", "b"), (2, 1000), "f")
