"""Networks on packs of molecules: padding and company change nothing, and a small one equals its formulas."""

import gzip

import jax
import jax.numpy as jnp
import ml_collections as mlc
import numpy as np
import pytest

from experiments.data import molecule_packs, molecule_stand_in, molecules
from experiments.lib import config as config_lib
from experiments.lib import mesh as mesh_lib
from experiments.pooling import molecule_models
from experiments.pooling import molecules as experiment

ROOM = molecule_packs.Room(160, 176, 8)
TASKS = 2


@pytest.fixture(scope="module")
def train():
    return molecule_stand_in.make(15, TASKS)["train"]


def algo(pool, **changed):
    given = {"channels": 8, "layers": 2, "levels": 2, "ratio": 0.8, "heads": 2, "dropout": 0.0}
    return mlc.ConfigDict({"pool": pool, **given, **changed})


def spoiled(packs):
    """The packs with other numbers in all padded entries."""
    rng = np.random.default_rng(0)

    def other(leaf, mask):
        noise = rng.integers(0, np.iinfo(leaf.dtype).max, leaf.shape).astype(leaf.dtype)
        return np.where(mask.reshape(mask.shape + (1,) * (leaf.ndim - mask.ndim)), leaf, noise)

    return packs._replace(
        atoms=other(packs.atoms, packs.is_atom), of=other(packs.of, packs.is_atom),
        bonds=other(packs.bonds, packs.is_bond), ends=other(packs.ends, packs.is_bond),
        labels=other(packs.labels, packs.known),
    )  # fmt: skip


def held(packs):
    """Places of molecules, `[P, G]`."""
    ids = np.arange(packs.labels.shape[1])
    return (packs.is_atom[:, None] & (packs.of[:, None] == ids[None, :, None])).any(axis=2)


@pytest.mark.parametrize("pool", molecule_models.POOLS)
def test_padding_and_company_change_nothing(pool, train):
    model = molecule_models.build(algo(pool, dropout=0.2), molecules=ROOM.molecules, tasks=TASKS)
    weights, statistics = model.init(jax.random.key(0))
    one, other = (molecule_packs.pack(train, 6, ROOM, seed=seed) for seed in (0, 1))
    keys = jax.random.split(jax.random.key(1), 6)

    @jax.jit
    def learn(packs):
        def loss(weights):
            logits, updated = model.apply(weights, statistics, packs, keys)
            return jnp.sum(jnp.where(packs.known, logits * logits, 0)), (logits, updated)

        gradient, (logits, updated) = jax.grad(loss, has_aux=True)(weights)
        return gradient, logits, updated

    known = learn(one)
    gradient, logits, updated = learn(spoiled(one))
    places = held(one)
    np.testing.assert_array_equal(np.asarray(logits)[places], np.asarray(known[1])[places])
    for found, expected in zip(
        jax.tree.leaves((gradient, updated)), jax.tree.leaves((known[0], known[2])), strict=True
    ):
        assert np.isfinite(found).all()
        np.testing.assert_array_equal(found, expected)
    # At test time, in two packings and with statistics that are no longer those of the start.
    test = jax.jit(lambda packs: model.apply(weights, updated, packs, None)[0])
    sorted_rows = []
    for packs in (one, other):
        rows = np.asarray(test(packs))[held(packs)]
        size = packs.is_atom[:, None] & (packs.of[:, None] == np.arange(ROOM.molecules)[None, :, None])
        sorted_rows.append(rows[np.lexsort((rows[:, 0], size.sum(axis=2)[held(packs)]))])
    np.testing.assert_allclose(*sorted_rows, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("pool", ["mean", "sum"])
def test_one_layer_equals_its_formulas(pool, train):
    model = molecule_models.build(algo(pool, layers=1, levels=1), molecules=ROOM.molecules, tasks=TASKS)
    weights, statistics = model.init(jax.random.key(2))
    layer = jax.tree.map(lambda leaf: leaf + 0.1, weights["layers"][0])  # no scale 1, bias 0 or eps 0
    packs = molecule_packs.pack(train, 6, ROOM, seed=0)
    logits, ((inner, outer),) = jax.jit(model.apply)(
        weights | {"layers": [layer]}, statistics, packs, jax.random.split(jax.random.key(0), 6)
    )

    def vector(table, values, levels):
        first = np.cumsum(levels) - levels
        return sum(np.asarray(table)[start + value] for start, value in zip(first, values, strict=True))

    def norm(x, given, known):
        mean, variance = x.mean(axis=0), x.var(axis=0)
        np.testing.assert_allclose(known[0], 0.1 * mean, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(known[1], 0.9 + 0.1 * variance, rtol=1e-4)
        return (x - mean) / np.sqrt(variance + 1e-5) * np.asarray(given.scale) + np.asarray(given.bias)

    rows, home = [], []
    for pack in range(6):
        x = {a: vector(weights["atoms"], packs.atoms[pack, a], molecules.ATOM_LEVELS)
             for a in np.flatnonzero(packs.is_atom[pack])}  # fmt: skip
        heard = dict.fromkeys(x, 0.0)
        for bond in np.flatnonzero(packs.is_bond[pack]):
            u, v = packs.ends[pack, bond].tolist()
            e = vector(layer.bonds, packs.bonds[pack, bond], molecules.BOND_LEVELS)
            heard[v] = heard[v] + np.maximum(x[u] + e, 0)
            heard[u] = heard[u] + np.maximum(x[v] + e, 0)
        rows += [(1 + float(layer.epsilon)) * x[a] + heard[a] for a in x]
        home += [(pack, packs.of[pack, a]) for a in x]
    x = norm(np.stack(rows).astype(np.float64) @ np.asarray(layer.wide), layer.inner, inner)
    x = norm(np.maximum(x, 0) @ np.asarray(layer.narrow), layer.outer, outer)
    home = np.array(home)
    for pack, molecule in np.argwhere(held(packs)):
        own = x[(home == (pack, molecule)).all(axis=1)]
        read = own.mean(axis=0) if pool == "mean" else own.sum(axis=0)
        np.testing.assert_allclose(logits[pack, molecule], read @ np.asarray(weights["head"]), rtol=1e-3, atol=1e-3)


def test_what_does_not_fit_is_told():
    for changed, says in (
        ({"pool": "max"}, "config.algo.pool must be one of 'mean', 'sum', 'topk', 'parse', 'histograph', got 'max'."),
        ({"pool": "topk", "levels": 4}, "config.algo.levels must be 1 to 2 layers, got 4."),
        ({"pool": "mean", "dropout": 1.0}, r"config.algo.dropout must lie in \[0, 1\), got 1.0."),
    ):
        with pytest.raises(ValueError, match=says):
            molecule_models.build(algo(**changed), molecules=8, tasks=1)


def written(folder, parts):
    """The molecules as the Open Graph Benchmark would hand them out."""

    def put(name, rows):
        path = folder / f"{name}.csv.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress("".join(f"{','.join(map(str, row))}\n" for row in rows).encode()))

    joined = molecules.Molecules(*(np.concatenate(leaves) for leaves in zip(*parts.values(), strict=True)))
    put("raw/node-feat", joined.atoms.tolist())
    put("raw/edge", joined.ends.tolist())
    put("raw/edge-feat", joined.bonds.tolist())
    put("raw/num-node-list", joined.num_atoms[:, None].tolist())
    put("raw/num-edge-list", joined.num_bonds[:, None].tolist())
    labels = np.where(joined.known, joined.labels.astype(str), "")
    put("raw/graph-label", labels.tolist())
    start = 0
    for split, part in parts.items():
        put(f"split/scaffold/{split}", [[start + row] for row in range(len(part.num_atoms))])
        start += len(part.num_atoms)
    return folder


def test_a_folder_of_the_stand_in_is_the_stand_in(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    reference = "configs/pooling/molecules.py:quick"
    count = config_lib.resolve(reference).config.problem.molecules
    folder = written(tmp_path / "ogb", molecule_stand_in.make(count, 2))
    found = []
    for source in (str(folder), "synthetic"):
        program = experiment.program(
            config_lib.resolve(reference, {"problem.source": source}).config, mesh_lib.build({"rep": 1})
        )
        data, state = program.init()
        found.append(data)
        given = jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), program.abstract_args)
        assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), (data, state)) == given
    for one, other in zip(*map(jax.tree.leaves, found), strict=True):
        np.testing.assert_array_equal(one, other)
