"""Mesh text, and what is said when the devices do not fit it. Eight devices are in tests/multi_device."""

import jax
import jax.numpy as jnp
import pytest

from experiments.lib import mesh
from experiments.lib.errors import RunError, UsageError


@pytest.mark.parametrize(
    ("text", "sizes"),
    [
        ("", {"rep": 1}),
        ("rep:8", {"rep": 8}),
        ("rep:-1, data:1", {"rep": -1, "data": 1}),
        ("data:4", {"rep": 1, "data": 4}),
        ("model:2,rep:4", {"model": 2, "rep": 4}),
    ],
)
def test_text_to_sizes(text, sizes):
    assert mesh.parse(text) == sizes
    assert list(mesh.parse(text)) == list(sizes)


@pytest.mark.parametrize("text", ["rep", "rep:", "rep:x", "rep:-2", "rep:1.5", "devices:1", "rep:1,rep:2", "rep:1:2"])
def test_other_text_is_refused(text):
    with pytest.raises(UsageError, match="--mesh"):
        mesh.parse(text)


def test_the_rest_of_the_devices():
    found = mesh.build({"rep": -1, "data": 1})
    assert dict(found.shape) == {"rep": len(jax.local_devices()), "data": 1}
    assert all(kind == jax.sharding.AxisType.Auto for kind in found.axis_types)


@pytest.mark.parametrize("sizes", [{"rep": 64}, {"rep": -1, "data": 64}])
def test_too_few_devices_names_what_there_is(sizes):
    said = r"needs 64 devices, and there is \d+ cpu device\(s\); rehearse with --cpu_devices=64"
    with pytest.raises(RunError, match=said):
        mesh.build(sizes)


def test_rep_divides_the_replicates():
    for size in (-1, 1, 4):
        mesh.check_replicates({"rep": size}, 8)
    with pytest.raises(UsageError, match="--mesh axis rep:3 must divide run.replicates, got 8;"):
        mesh.check_replicates({"data": 2, "rep": 3}, 8)


def test_over_replicates_equals_a_loop():
    def walk(scale, x):
        return {"sum": scale * x.sum(), "shift": x + 1}

    found = mesh.over_replicates(mesh.build({"rep": 1}), walk, shared=1)(2.0, jnp.arange(6.0).reshape(3, 2))
    assert found["sum"].tolist() == [2.0, 10.0, 18.0]
    assert found["shift"].shape == (3, 2)
