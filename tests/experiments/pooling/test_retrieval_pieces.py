"""Retrieval of unseen classes: scores by a plain loop, pools, loss, made pictures, and where training starts."""

import importlib
import shutil

import jax
import jax.numpy as jnp
import ml_collections as mlc
import numpy as np
import pytest

from experiments.data import patch_images
from experiments.data.fetch import DataError
from experiments.lib import app, errors
from experiments.lib import config as config_lib
from experiments.lib import mesh as mesh_lib
from experiments.pooling import pretrained, retrieval_model, retrieval_scores
from research.pooling import gsp

QUICK = "configs/pooling/retrieval.py:quick"


def slow_scores(embeddings, labels):
    """One query after another, as it is defined."""
    found = {f"recall_{k}": [] for k in retrieval_scores.RECALLS} | {"map_r": []}
    for i in range(len(labels)):
        others = [j for j in range(len(labels)) if j != i]
        others.sort(key=lambda j: -(embeddings[i] @ embeddings[j]))  # Python's sort is stable
        right = [labels[j] == labels[i] for j in others]
        total = sum(right)
        if not total:
            continue
        for k in retrieval_scores.RECALLS:
            found[f"recall_{k}"].append(any(right[:k]))
        precisions = [sum(right[: r + 1]) / (r + 1) for r in range(total) if right[r]]
        found["map_r"].append(sum(precisions) / total)
    return {name: np.mean(values) if values else 0.0 for name, values in found.items()}


@pytest.mark.parametrize(("count", "classes", "block"), [(37, 6, 8), (64, 40, 64), (5, 1, 128), (4, 4, 3)])
def test_scores_are_those_of_a_plain_loop(count, classes, block):
    """Integers times a power of two: products are exact, and ties are many."""
    rng = np.random.default_rng(count)
    embeddings = rng.integers(-2, 3, (count, 3)).astype(np.float32) / 4
    labels = np.arange(4) if classes == count else rng.integers(0, classes, count)
    found = retrieval_scores.scores(jnp.asarray(embeddings), jnp.asarray(labels), block=block)
    expected = slow_scores(embeddings, labels)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-5, err_msg=name)


def test_scores_of_what_is_apart_and_of_wrong_shapes():
    labels = jnp.repeat(jnp.arange(4), 5)
    assert all(value == 1 for value in retrieval_scores.scores(jnp.eye(4)[labels], labels).values())
    with pytest.raises(ValueError, match=r"labels must have shape \(20\), got \(19,\)"):
        retrieval_scores.scores(jnp.eye(4)[labels], labels[1:])


def test_the_largest_array_is_a_block():
    """Of 1,024 pictures in blocks of 16 nothing is as large as all pairs."""
    count = 1024
    text = jax.jit(lambda e, y: retrieval_scores.scores(e, y, block=16)).lower(
        jax.ShapeDtypeStruct((count, 8), jnp.float32), jax.ShapeDtypeStruct((count,), jnp.int32)
    )  # fmt: skip
    assert f"tensor<16x{count}x" in text.as_text()
    assert f"tensor<{count}x{count}x" not in text.as_text()


def algo(**changed):
    return mlc.ConfigDict(config_lib.resolve(QUICK).config.algo.to_dict() | changed)


@pytest.fixture(scope="module")
def features():
    return jax.random.uniform(jax.random.key(3), (2, 32, 32, 3))


@pytest.mark.parametrize("pool", retrieval_model.POOLS)
def test_a_pool_is_what_it_is_called(pool, features):
    network = retrieval_model.build(algo(pool=pool), classes=5)
    weights, statistics = network.init(jax.random.key(0))
    assert ("prototypes" in weights) == ("gsp" in pool)
    found, same = network.embed(weights, statistics, features, False)
    np.testing.assert_allclose(jnp.linalg.norm(found, axis=1), 1, rtol=1e-5)
    jax.tree.map(np.testing.assert_array_equal, same, statistics)
    # Again by hand, above the features of the network itself.
    model = retrieval_model.image_models.build("resnet_small", "max", classes=None, dtype="float32")
    x = np.asarray(model.apply(weights["backbone"], statistics, features, None)[0])
    assert x.shape == (2, 4, 4, 16)
    x, kernel = x.reshape(2, 16, 16), np.asarray(weights["embedding"])

    def by_hand(name):
        if name == "gsp":
            alpha = gsp.plan(gsp.costs(x @ kernel, weights["prototypes"]), 0.3, 5.0).weight
            return (np.asarray(alpha)[..., None] * (x @ kernel)).mean(axis=1)
        small = np.maximum(x, 1e-6)
        return {"avg": x.mean(axis=1), "max": x.max(axis=1), "gem": (small**3).mean(axis=1) ** (1 / 3)}[name] @ kernel

    total = sum(by_hand(name) for name in pool.split("+"))
    np.testing.assert_allclose(found, total / np.linalg.norm(total, axis=1, keepdims=True), rtol=1e-3, atol=1e-5)


def test_an_unknown_pool_is_refused():
    with pytest.raises(ValueError, match=r"config\.algo\.pool must be one of 'avg', .*, got 'mean'"):
        retrieval_model.build(algo(pool="mean"), classes=5)
    with pytest.raises(ValueError, match=r"model must be one of 'resnet18', 'resnet50', 'resnet_small', got 'pool"):
        retrieval_model.build(algo(model="poolformer_small"), classes=5)


def test_logits_are_distances_to_proxies_over_the_temperature():
    rng = np.random.default_rng(1)
    x, proxies = rng.standard_normal((4, 3)), 7 * rng.standard_normal((6, 3))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    unit = proxies / np.linalg.norm(proxies, axis=1, keepdims=True)
    expected = -((x[:, None] - unit[None]) ** 2).sum(axis=-1) / 0.2
    found = retrieval_model.proxy_logits(jnp.asarray(x, jnp.float32), jnp.asarray(proxies, jnp.float32), 0.2)
    np.testing.assert_allclose(jax.nn.softmax(found), jax.nn.softmax(expected), rtol=1e-4)


def made(part, **changed):
    given = {"count": 60, "side": 16, "classes": 3, "unseen": 2, "foreground": 0.5, "nuisances": 4} | changed
    return patch_images.synthetic(part, **given)


def test_made_pictures_carry_their_class_in_a_share_of_patches():
    for part, labels in (("train", {0, 1, 2}), ("validation", {3, 4})):
        images, found = made(part)
        assert set(found.tolist()) == labels
        patches = images.reshape(60, 2, 8, 2, 8, 3).transpose(0, 1, 3, 2, 4, 5).reshape(60, 4, -1).astype(float)
        for label in labels:
            # Noise is uniform over 64 numbers: patches of one pattern are 18.5 sqrt(2) apart in the root mean square;
            # patterns are uniform over 128, and two are at least twice as far apart.
            those = patches[found == label].reshape(-1, 192)
            near = np.sqrt(((those[:, None] - those[None]) ** 2).mean(axis=-1)) < 35
            # One group of half of all patches, and four more that share the other half.
            assert (near.sum(axis=1) == len(those) // 2).sum() == len(those) // 2
    for changed, says in (({"side": 12}, "side must be a positive"), ({"foreground": 0.0}, "foreground must lie in")):
        with pytest.raises(ValueError, match=says):
            made("train", **changed)


def folder_of(tmp_path, validation_labels):
    for part, labels in (("train", [0, 1, 2, 1]), ("validation", validation_labels)):
        np.save(tmp_path / f"{part}_images.npy", np.zeros((len(labels), 40, 40, 3), np.uint8))
        np.save(tmp_path / f"{part}_labels.npy", np.array(labels))
    sizes = {"problem.train": 4, "run.windows": 4, "run.batch_size": 4, "problem.stripes": 4}
    given = sizes | {"problem.source": str(tmp_path), "problem.classes": 3, "problem.unseen": 2}
    return config_lib.resolve(QUICK, given).config


def program(config):
    return importlib.import_module("experiments.pooling.retrieval").program(config, mesh_lib.build({"rep": 1}))


def test_labels_of_validation_follow_those_of_training(tmp_path):
    (_, validation), _ = program(folder_of(tmp_path, [3, 4, 4, 3])).init()
    np.testing.assert_array_equal(validation.labels[:, 0], [3, 4, 4, 3])
    with pytest.raises(DataError, match=r"validation_labels\.npy must hold labels in 3\.\.4, found 0\.\.4"):
        program(folder_of(tmp_path, [0, 4, 4, 3])).init()
    with pytest.raises(DataError, match=r"validation_images\.npy must have 4 rows and no more, found 5"):
        program(folder_of(tmp_path, [3, 4, 4, 3, 3])).init()


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    """A finished quick run, and the weights and statistics that it ended with."""
    from experiments.pooling import imagenet

    root, kept = tmp_path_factory.mktemp("runs"), []
    arguments = ["--config=configs/pooling/imagenet.py:quick", f"--root={root}", "--quiet", "--compile_cache=off"]
    arguments += ["--nofigures", "--config.algo.kind=max", "--config.run.replicates=2"]

    def main(config, run, mesh):
        from experiments.lib import driver

        kept.append(jax.device_get(driver.drive(imagenet.program(config, mesh), config, run)[1][:2]))

    assert app.launch(main, [*arguments, "--checkpoint_steps=1"], default_config="") == 0
    return next((root / "pooling/imagenet").iterdir()), *kept[0]


def start(config):
    return jax.device_get(program(config).init()[1])


def test_training_starts_from_a_classifier_without_its_head(classifier):
    folder, weights, statistics = classifier
    given = {"algo.weights": str(folder), "run.replicates": 3}
    found, alone = (start(config_lib.resolve(QUICK, changed).config) for changed in (given, {"run.replicates": 3}))
    assert "Dense_0" in weights
    assert found[0]["backbone"].keys() == weights.keys() - {"Dense_0"}
    for r in range(3):
        mine = jax.tree.map(lambda leaf, r=r: leaf[r], (found[0]["backbone"], found[1]))
        theirs = jax.tree.map(lambda leaf: leaf[0], ({name: weights[name] for name in mine[0]}, statistics))
        jax.tree.map(np.testing.assert_array_equal, mine, theirs)
    # What is not the classifier's is as it was.
    for name in ("embedding", "proxies", "prototypes"):
        np.testing.assert_array_equal(found[0][name], alone[0][name])
    assert np.abs(statistics["BatchNorm_0"]["mean"]).max() > 0


def test_runs_that_do_not_fit_are_told(classifier, tmp_path):
    folder = classifier[0]

    def says(**changed):
        config = algo(**({"weights": str(folder)} | changed))
        with pytest.raises(errors.RunError) as told:
            pretrained.backbone(config, {}, ())
        return str(told.value)

    assert says(kind="soft") == f"config.algo.kind must be that of {folder}, max, got soft."
    assert says(model="resnet50") == f"config.algo.model must be that of {folder}, resnet_small, got resnet50."
    assert "no run at" in says(weights=str(tmp_path))
    other = tmp_path / folder.name
    shutil.copytree(folder, other)
    for kept, told in (("4", "has kept step 2, not its last, 4; runs of seconds keep it"), ("2", "has no checkpoint")):
        shutil.rmtree(other / "checkpoints" / kept)
        with pytest.raises(errors.RunError, match=told):
            start(config_lib.resolve(QUICK, {"algo.weights": str(other)}).config)
    (other / "DONE").unlink()
    assert says(weights=str(other)) == f"config.algo.weights: {other} is not finished."
