"""What experiments with the language model share: text, model and rows of a contest as one program.

A replicate is a seed: weights and batches, the same for all rows. Each row trains a model of its own, one after the
other. Metrics, of a chunk of steps: `loss [R, row]`, the mean training loss, nats per token; `<domain>/loss [R, row]`
on the validation text; by layer with experts, `batch_violation/<layer> [R, row]`, the mean over steps of MaxVio of a
batch, `global_violation/<layer>`, MaxVio on the whole validation text, `spread/<layer>`, of the biases, and
`dispersion/<layer>`, the trace of the covariance over the chunk's steps of load shares A / T;
`load/<layer>/<domain> [R, row x expert]`, tokens on the validation text.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from experiments.balancing.contest import contest
from experiments.data import pylib, token_files
from experiments.data.fetch import DataError
from experiments.lib import lanes
from experiments.lib.program import Program
from research.balancing import metrics, model_sizes, token_split, training
from research.balancing.language_model import Options
from research.core import prng, sharding

__all__ = ["corpus", "domains", "params", "program", "recorded"]


def corpus(problem) -> token_files.Corpus:
    """The text of a config's section `problem`.

    Raises DataError where it cannot be had, is not the one of the config's sha256, or has more documents than allowed.
    """
    if problem.source == "pylib":
        found = pylib.load(problem.validation)
    else:
        vocabulary = model_sizes.size(problem.size).vocabulary
        separator = None if problem.separator < 0 else problem.separator
        found = token_files.read(
            problem.source, vocabulary=vocabulary, limit=problem.capacity, validation=problem.validation,
            dtype=problem.dtype, separator=separator,
        )  # fmt: skip
    if problem.sha256 and found.sha256 != problem.sha256:
        raise DataError(f"{problem.source} must have sha256 {problem.sha256}, found {found.sha256}.")
    return found


def _stripe_tokens(problem) -> int:
    return problem.capacity // problem.stripes


def _text(problem) -> training.Problem:
    """The corpus in arrays of the config's size, in stripes of equal length."""
    found, width = corpus(problem), _stripe_tokens(problem)
    per_stripe = len(found.tokens) // problem.stripes
    if per_stripe > width:
        raise DataError(f"{problem.source}: config.problem.capacity must be >= {len(found.tokens):,} tokens.")
    abstract = _abstract_text(problem)
    tokens = np.zeros(abstract.tokens.shape, abstract.tokens.dtype)
    starts = np.full(abstract.starts.shape, width, np.int32)
    for number in range(problem.stripes):
        first = number * per_stripe
        tokens[number, :per_stripe] = found.tokens[first : first + per_stripe]
        inside = found.starts[(found.starts > first) & (found.starts < first + per_stripe)] - first
        if len(inside) + 1 > starts.shape[1]:
            raise DataError(f"{problem.source}: config.problem.documents must be >= {len(inside) + 1:,}.")
        starts[number, : len(inside) + 1] = np.concatenate([[0], inside])
    used = np.full(problem.stripes, per_stripe, np.int32)
    return training.Problem(tokens, used, starts, found.validation.astype(tokens.dtype))


def _abstract_text(problem) -> training.Problem:
    vocabulary = model_sizes.size(problem.size).vocabulary
    dtype = np.dtype(np.uint8 if vocabulary <= 256 else np.uint16)
    shape = jax.ShapeDtypeStruct
    domains = len(pylib.DOMAINS) if problem.source == "pylib" else 1
    return training.Problem(
        shape((problem.stripes, _stripe_tokens(problem)), dtype), shape((problem.stripes,), np.int32),
        shape((problem.stripes, problem.documents), np.int32), shape((domains, problem.validation), dtype),
    )  # fmt: skip


def domains(problem) -> tuple[str, ...]:
    """Names of the domains, as metrics have them."""
    return pylib.DOMAINS if problem.source == "pylib" else ("text",)


def params(config) -> training.Params:
    """Of every row, stacked on a leading axis."""
    size = model_sizes.size(config.problem.size)
    model, algo, run = config.model, config.algo, config.run
    options = Options(
        model.parallel_residual, model.router_init, model.compute_dtype or None, model.remat, model.experts
    )
    routers = contest(size, algo.rows, gate=algo.gate, sequences=algo.aux_sequences)
    optimizer = training.Optimizer(**{name: jnp.float32(algo.optimizer[name]) for name in algo.optimizer})
    stacked = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (len(algo.rows),)), optimizer)
    return training.Params(
        routers, size, stacked, options, run.batch_size, run.length, run.micro_batches, run.balance_scope, run.chunk
    )


def program(config, mesh) -> Program:
    """The program of a config; over a mesh with `data` and `model`, every model is on all of its devices."""
    rows, size = len(config.algo.rows), model_sizes.size(config.problem.size)
    shared = (_abstract_text(config.problem), jax.eval_shape(lambda: params(config)))
    wide = mesh if set(token_split.AXES) <= set(mesh.shape) else None

    def start(key):
        state = training.init(None, jax.tree.map(lambda leaf: leaf[0], params(config)), key)
        return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (rows, *leaf.shape)), state)

    def one(text, params, state):
        result = training.run(text, params, state=state, mesh=wide)
        found = training.evaluate(text, params, result.state, config.run.windows, mesh=wide)
        return result.state, _report(config, result, found)

    axes = {
        "row": tuple(config.algo.rows), "domain": domains(config.problem),
        "layer": tuple(map(str, range(1, size.layers))), "expert": tuple(map(str, range(size.experts))),
    }  # fmt: skip
    traced = ("seed", *(f"algo.optimizer.{name}" for name in config.algo.optimizer))

    def common():
        return _text(config.problem), params(config)

    if wide is not None:
        return _wide_program(config, mesh, one, start, common, shared, axes)

    def advance(common, _, state):
        text, every = common
        state, found = jax.lax.map(lambda row: one(text, *row), (every, state))
        return state, {name: values.reshape(-1) for name, values in found.items()}

    return lanes.program(
        config, mesh, draw=lambda key: key, start=start, advance=advance, axes=axes, common=common,
        common_shape=shared, traced_fields=traced, in_turn=True,
    )  # fmt: skip


def _wide_program(config, mesh, one, start, common, shared, axes) -> Program:
    """Models that fill the mesh, one after the other; weights, moments and text are split as `training` takes them."""
    keys = prng.replicate_keys(prng.root_key(config.seed), config.run.replicates)

    def placed(tree, spec_of):
        specs = jax.tree_util.tree_map_with_path(lambda path, _: NamedSharding(mesh, spec_of(path)), tree)
        return jax.tree.map(lambda leaf, to: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=to), tree, specs)

    def of_state(path):
        return P(None, None, None, "model") if token_split.is_routed(path) else P()

    def of_text(path):
        whole = getattr(path[0], "idx", 0) == 1 or getattr(path[-1], "name", "") == "validation"
        return P() if whole else P(token_split.AXES)

    state = placed(jax.eval_shape(lambda: jax.vmap(start)(keys)), of_state)
    data = placed(shared, of_text)

    def init():
        shardings = jax.tree.map(lambda leaf: leaf.sharding, (data, state))
        return sharding.put(common(), shardings[0]), jax.jit(jax.vmap(start), out_shardings=shardings[1])(keys)

    def advance(data, state):
        text, every = data
        take = lambda tree, *at: jax.tree.map(lambda leaf: leaf[at], tree)  # noqa: E731
        rows, replicates = range(len(config.algo.rows)), range(config.run.replicates)
        done = [[one(text, take(every, row), take(state, r, row)) for row in rows] for r in replicates]
        stack = lambda *leaves: jnp.stack(leaves)  # noqa: E731
        state, found = jax.tree.map(stack, *[jax.tree.map(stack, *of_rows) for of_rows in done])
        return state, {name: values.reshape(values.shape[0], -1) for name, values in found.items()}

    return Program(init, jax.jit(advance), (data, state), ("seed",), axes)


def _report(config, result: training.Result, found: training.Evaluation) -> dict:
    """The metrics of one row."""
    size, load = model_sizes.size(config.problem.size), result.trace.load
    share = load / jnp.maximum(load.sum(axis=-1, keepdims=True), 1) * size.top_k
    by_layer = {
        "batch_violation": metrics.max_violation(load).mean(axis=0),
        "global_violation": metrics.max_violation(found.load.sum(axis=0)),
        "spread": jnp.ptp(result.state.router.bias, axis=-1),
        "dispersion": jnp.var(share, axis=0, ddof=1).sum(axis=-1),
    }
    reported = {"loss": result.trace.loss.mean()}
    for number, domain in enumerate(domains(config.problem)):
        reported[f"{domain}/loss"] = found.loss[number]
    for layer in range(size.expert_layers):
        reported |= {f"{name}/{layer + 1}": values[layer] for name, values in by_layer.items()}
        for number, domain in enumerate(domains(config.problem)):
            reported[f"load/{layer + 1}/{domain}"] = found.load[number, layer]
    return reported


def recorded(config) -> dict[str, np.ndarray]:
    """What results keep of the text: its sha256 and how much there is of it."""
    found = corpus(config.problem)
    return {
        "sha256": np.asarray(found.sha256), "train_tokens": np.asarray(len(found.tokens)),
        "domain_tokens": np.bincount(found.label, np.diff(found.starts, append=len(found.tokens))).astype(np.int64),
    }  # fmt: skip
