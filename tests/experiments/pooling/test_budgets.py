"""A budget drawn at each step: which one it is, what it does, where the model is validated, and how that is drawn."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.data import caption_files
from experiments.lib import config as config_lib
from experiments.lib import mesh as mesh_lib
from experiments.lib import style
from experiments.pooling import budgets, captioner, panels_budgets
from research.core import prng
from research.pooling import token_budgets

#: One digit a scene; budgets are drawn from (1, 4), and 9 is never trained on.
SMALL = {
    "problem.grid": 2, "problem.length": 1, "problem.train": 64, "problem.budgets": (1, 4, 9), "algo.budgets": (1, 4),
    "algo.width": 8, "algo.layers": 1, "algo.heads": 2, "algo.hidden": 8, "problem.validation": 32,
    "run.batch_size": 16, "run.num_steps": 8, "run.chunk": 1,
}  # fmt: skip


def run(changed=None):
    """The config, the state after the last step, and the curves `[steps, R]`."""
    config = config_lib.resolve("configs/pooling/budgets.py:quick", SMALL | (changed or {})).config
    program = budgets.program(config, mesh_lib.build({"rep": 1}))
    data, state = program.init()
    found = []
    for _ in range(config.run.num_steps // config.run.chunk):
        state, metrics = program.advance(data, state)
        found.append(metrics)
    return config, state, jax.device_get(jax.tree.map(lambda *leaves: jnp.stack(leaves), *found))


@pytest.fixture(scope="module")
def resting():
    """A run whose weights stay as they start."""
    return run({"algo.learning_rate": 0.0})


def drawn(config, step):
    """The budget of a step, of the first replicate."""
    key = prng.replicate_keys(prng.root_key(config.seed), 1)[0]
    own = prng.per_step(prng.stream(key, "steps"), step)
    return config.algo.budgets[int(token_budgets.draw_budget(own, 0, config.algo.budgets))]


def test_a_step_has_the_budget_of_its_key_whatever_the_batch(resting):
    config, _, found = resting
    expected = np.array([drawn(config, step) for step in range(8)], np.float32)
    assert set(expected) == {1, 4}
    np.testing.assert_array_equal(found["tokens"][:, 0], expected)
    _, _, other = run({"run.batch_size": 8, "run.chunk": 2, "problem.budgets": (4,)})
    np.testing.assert_array_equal(other["tokens"][:, 0], expected.reshape(4, 2).mean(axis=1))


def test_a_step_s_loss_is_that_of_its_budget(resting):
    config, state, found = resting
    weights = jax.tree.map(lambda leaf: leaf[0], state[0])
    sizes = {name: config.algo[name] for name in ("width", "layers", "heads", "hidden", "remat")}
    model = captioner.Captioner(10, **sizes)
    key = prng.replicate_keys(prng.root_key(config.seed), 1)[0]
    features, captions = caption_files.load("scenes", "train", count=64, grid=2, width=16, length=1, vocabulary=10)
    told = jax.jit(captioner.tell, static_argnums=(0, 4, 5))
    for step in range(8):
        places, _ = jax.random.split(prng.per_step(prng.stream(key, "batches"), step))
        at = jax.random.randint(places, (1, 8, 2), 0, 8)[0]
        rows = (np.arange(8)[:, None] + 8 * np.asarray(at)).reshape(-1)
        losses = {
            budget: captioner.sums(
                told(model, weights, features[rows], captions[rows], budget, "float32"), captions[rows]
            )["loss"].mean()
            for budget in (1, 4)
        }
        assert abs(losses[1] - losses[4]) > 1e-4  # so that the next line tells which one it was
        np.testing.assert_allclose(found["loss"][step, 0], losses[drawn(config, step)], rtol=1e-5)


def test_validation_is_the_share_of_tokens(resting):
    config, state, found = resting
    weights = jax.tree.map(lambda leaf: leaf[0], state[0])
    sizes = {name: config.algo[name] for name in ("width", "layers", "heads", "hidden", "remat")}
    shape = {"grid": 2, "width": 16, "length": 1, "vocabulary": 10}
    features, captions = caption_files.load("scenes", "validation", count=32, **shape)
    logits = captioner.tell(captioner.Captioner(10, **sizes), weights, features, captions, 9, "float32")
    np.testing.assert_allclose(found["validation/correct/9"][-1, 0], (logits.argmax(-1) == captions).mean(), rtol=1e-6)


def test_every_budget_is_validated_also_one_never_trained_on(resting):
    _, _, found = resting
    for budget in (1, 4, 9):
        assert np.isfinite(found[f"validation/loss/{budget}"]).all()
        assert np.ptp(found[f"validation/correct/{budget}"]) == 0  # the weights rest


def test_one_budget_is_the_contest_s_other_row():
    """Trained on 4 alone, it tells digits from 4, is validated at 9 too, and differs from seed to seed."""
    changed = {"run.num_steps": 80, "run.chunk": 80, "run.replicates": 2, "run.batch_size": 64, "problem.train": 1024}
    changed |= {"algo.budgets": (4,), "problem.budgets": (4, 9), "algo.width": 32, "algo.hidden": 32}
    _, _, found = run(changed | {"algo.learning_rate": 1e-2})
    np.testing.assert_array_equal(found["tokens"], 4)
    # A tenth is chance; of 32 held-out digits a share of 0.5 by chance has a probability below 1e-7.
    assert (found["validation/correct/4"] > 0.5).all()
    assert np.isfinite(found["validation/loss/9"]).all()
    assert found["loss"][0, 0] != found["loss"][0, 1]


def test_panels_draw_every_budget_and_every_run():
    shares = {4: 0.2, 36: 0.8, 9: 0.5}
    curves = {f"validation/correct/{budget}": np.array([[0.1], [share]]) for budget, share in shares.items()}
    runs = [
        types.SimpleNamespace(curves=curves | {"step": np.array([1, 2])}, config={"algo": {"budgets": trained}})
        for trained in ((4, 36), (9,))
    ]
    fig, axes = style.figure("text", 0.42, 1, 2)
    panels_budgets.share_panel(axes[0, 0], runs[0])
    panels_budgets.budget_panel(axes[0, 1], runs)
    steps, ends = style.plotted(fig)
    assert [line["label"] for line in steps["lines"]] == [f"{budget} tokens (n = 1)" for budget in (4, 9, 36)]
    assert [line.get_linestyle() for line in axes[0, 0].lines] == ["-", "--", "-"]
    assert [line["label"] for line in ends["lines"]] == ["trained on 4, 36 (n = 1)", "trained on 9 (n = 1)"]
    for line in ends["lines"]:
        assert line["x"] == [4, 9, 36]
        np.testing.assert_allclose(line["y"], [20, 50, 80])


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"algo.budgets": (5,)}, "budget must be the square of a number >= 1, got 5"),
        ({"problem.budgets": ()}, r"config\.problem\.budgets must have a number of visual tokens, got \(\)"),
        ({"algo.warmup": 8}, r"config\.algo\.warmup must be < 8 steps, got 8"),
        ({"algo.heads": 3}, r"config\.algo\.width must be in 3 equal heads, got 8"),
    ],
)
def test_what_cannot_be_is_refused(changed, says):
    with pytest.raises(ValueError, match=says):
        run(changed)
