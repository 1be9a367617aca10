"""The shared comparison: the methods are those of the library, and replicates do not see each other."""

import jax
import jax.numpy as jnp
import ml_collections as mlc
import numpy as np
import pytest

from experiments.lib import mesh as mesh_lib
from experiments.regret import protocol, sources
from research.regret import baselines, groupwise, oracles, problems

NUM_ROWS = 300


@pytest.fixture(scope="module")
def source():
    return sources.synthetic("min", NUM_ROWS)


def config_of(**run):
    algo = {
        "methods": protocol.METHODS, "regularization": 0.5, "forecaster": "ridge", "form": "blocked", "block_size": 16,
    }  # fmt: skip
    sizes = {"num_steps": 320, "chunk": 64, "replicates": 3, "oracle_points": 3} | run
    return mlc.ConfigDict({"seed": 0, "algo": algo, "run": sizes, "numerics": {"x64": True}})


def play(config, source, spoil=lambda state: state):
    """Metrics `[points, R, G]`."""
    program = protocol.program(config, mesh_lib.build({"rep": 1}), source)
    data, state = program.init()
    state, rows = spoil(state), []
    for _ in range(config.run.num_steps // config.run.chunk):
        state, metrics = program.advance(data, state)
        rows.append(metrics)
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


@pytest.fixture(scope="module")
def played(source):
    with jax.enable_x64(True):
        return play(config_of(), source)


def shuffled(source, replicate):
    table = source.load()
    rows = problems.permutation(problems.PAPER_SEEDS[replicate], NUM_ROWS)
    return table._replace(features=table.features[rows], labels=table.labels[rows], awake=table.awake[rows])


@pytest.mark.parametrize("method", protocol.AGGREGATED)
@pytest.mark.parametrize("replicate", [0, 2])
def test_a_method_is_that_of_the_library(method, replicate, played, source, x64):
    problem = problems.from_table(shuffled(source, replicate), dtype=jnp.float64)
    params = groupwise.Params(NUM_ROWS, 0.5, form="recursion", **protocol.AGGREGATED[method])
    alone = groupwise.run(problem, params)
    np.testing.assert_allclose(played[f"loss/{method}"][-1, replicate], alone.group_loss, rtol=1e-10)
    experts = alone.state.experts
    np.testing.assert_allclose(played["ridge_value"][-1, replicate], experts.ridge_value, rtol=1e-9)
    np.testing.assert_allclose(played["logdet"][-1, replicate], experts.logdet, rtol=1e-10)
    clipped = "expert" if params.clip is None else "expert_clip"
    np.testing.assert_allclose(played[clipped][-1, replicate], alone.state.meta.expert_loss, rtol=1e-9)
    if protocol.covered(method):
        bound = groupwise.meta_regret_bound(problem, params, alone.state.meta)
        np.testing.assert_allclose(played[f"meta_bound/{method}"][-1, replicate], bound, rtol=1e-9)


@pytest.mark.parametrize(("clip", "method"), [(None, "baseline"), ((0.0, 1.0), "baseline_clip")])
def test_the_baseline_is_one_online_ridge(clip, method, played, source, x64):
    problem = problems.from_table(shuffled(source, 1), dtype=jnp.float64)
    alone = baselines.online_ridge(problem, groupwise.Params(NUM_ROWS, 0.5, form="recursion", clip=clip))
    expected = alone.loss @ problem.awake.astype(jnp.float64)
    np.testing.assert_allclose(played[f"loss/{method}"][-1, 1], expected, rtol=1e-10)


def test_only_clipped_aggregations_have_bounds(played):
    bounded = {name.removeprefix("meta_bound/") for name in played if name.startswith("meta_bound/")}
    assert bounded == {"anh_clip", "anh_mean", "aa", "ewa"}


def test_measured_stays_below_the_bounds_at_every_point(played):
    assert np.all(played["expert_clip"] <= played["ridge_value"] + played["logdet"])
    for method in ("anh_clip", "anh_mean", "aa", "ewa"):
        assert np.all(played[f"loss/{method}"] - played["expert_clip"] <= played[f"meta_bound/{method}"] + 1e-12)


def test_the_length_of_a_chunk_changes_nothing_but_rounding(played, source, x64):
    whole = play(config_of(chunk=320), source)
    for name, values in whole.items():
        np.testing.assert_allclose(values[-1], played[name][-1], rtol=1e-12, err_msg=name)


def test_a_nan_in_one_replicate_leaves_the_bytes_of_the_others(played, source, x64):
    def spoil(state):
        return state._replace(experts=state.experts._replace(weights=state.experts.weights.at[1].set(jnp.nan)))

    spoilt = play(config_of(), source, spoil)
    assert np.isnan(spoilt["loss/anh"][-1, 1]).all()
    for name, values in spoilt.items():
        np.testing.assert_array_equal(values[:, [0, 2]], played[name][:, [0, 2]], err_msg=name)


def test_what_is_promised_without_data_is_what_comes(source, x64):
    config = config_of()
    program = protocol.program(config, mesh_lib.build({"rep": 1}), source._replace(load=None))
    with_data = protocol.program(config, mesh_lib.build({"rep": 1}), source)
    data, state = with_data.init()
    shapes = jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), (data, state))
    promised = jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), program.abstract_args)
    assert jax.tree.leaves(shapes, is_leaf=lambda x: isinstance(x, tuple) and len(x) == 2) == jax.tree.leaves(
        promised, is_leaf=lambda x: isinstance(x, tuple) and len(x) == 2
    )
    program.advance.lower(*program.abstract_args)


def test_hindsight_is_least_squares_of_the_rounds_so_far(played, source):
    config = config_of()
    steps = 64 * np.arange(1, 6)
    found = protocol.hindsight(config, source, steps, played["rounds"])
    np.testing.assert_array_equal(found["hindsight_step"], [64, 192, 320])
    for replicate in range(3):
        table = shuffled(source, replicate)
        for group in range(6):
            member = np.flatnonzero(table.awake[:, group])
            for k, step in enumerate((64, 192, 300)):
                rows = member[member < step]
                best = oracles.hindsight(table.features[rows], table.labels[rows])
                np.testing.assert_allclose(found["hindsight"][k, replicate, group], best, rtol=1e-9, atol=1e-12)
            without_last = oracles.hindsight(table.features[member[:-1]], table.labels[member[:-1]])
            np.testing.assert_allclose(found["hindsight_paper"][replicate, group], without_last, rtol=1e-9)


def test_orders_are_the_papers_shuffles_and_end_with_gaps(source):
    orders = protocol.row_orders(config_of(), source, source.load())
    np.testing.assert_array_equal(orders[1, :NUM_ROWS], np.random.RandomState(503).permutation(NUM_ROWS))
    assert (orders[:, NUM_ROWS:] == -1).all()
    head = protocol.row_orders(config_of(num_steps=64), source, source.load())
    np.testing.assert_array_equal(head, orders[:, :64])


def test_a_sorted_source_sorts_the_sample_that_is_shown(source):
    drifting = sources.by_color(source)
    table = source.load()
    for num_steps in (64, 320):
        orders = protocol.row_orders(config_of(num_steps=num_steps), drifting, table)
        shown = min(num_steps, NUM_ROWS)
        green = table.awake[orders[0, :shown], 3]
        assert not green[0]
        assert (np.diff(green.astype(int)) >= 0).all()
        assert set(orders[0, :shown]) == set(problems.permutation(473, NUM_ROWS)[:shown])


def test_seeds_of_shuffles_do_not_collide():
    seeds = [protocol.shuffle_seed(seed, r) for seed in range(3) for r in range(5000)]
    assert len(set(seeds)) == len(seeds)
    assert [protocol.shuffle_seed(0, r) for r in range(10)] == list(problems.PAPER_SEEDS)


def test_an_unknown_method_is_named(source):
    config = config_of()
    config.algo.methods = ("anh", "hedge")
    with pytest.raises(ValueError, match=r"config\.algo\.methods must be one of .*'anh'.*, got 'hedge'\."):
        protocol.program(config, mesh_lib.build({"rep": 1}), source)
