"""How long tokens take to see each other, by their number: PoNet's pooled mixer and softmax attention.

A step runs one variant, a mixer at a number of tokens, as often as the largest number holds it, each time on what it
has just made; variants go in turn, and the first lap warms up. `timing.jsonl` has the seconds. Metric, `[R]`: `output`,
root mean square of what the last mix gave, which no clock changes. Axes: `variant`, "mixer tokens". Results:
`operations [variant]` of one mix, as XLA counts them before it optimises, with all queries in one block.
Source: `tan:22`, section 3, for PoNet's linear time.
"""

from experiments.lib import app

MIXERS = ("PoNet", "attention")


def variants(config):
    """(mixer, tokens) in turn."""
    return [(mixer, tokens) for tokens in config.problem.tokens for mixer in MIXERS]


def mixed(config, mixer, block, parts):
    """One mix of tokens `[1, T, D]`; `parts` are the five projections, of which attention takes three."""
    import jax.numpy as jnp

    from research.pooling import ponet

    mask, heads = jnp.ones(parts[0].shape[:2], bool), config.problem.heads
    if mixer == "PoNet":
        return ponet.ponet_mix(*parts, mask, heads=heads, segments=config.problem.segments)
    return ponet.attention_mix(*parts[:3], mask, heads=heads, block=block)


def operations(config):
    """Of every variant."""
    import functools

    import jax
    import numpy as np

    found = []
    for mixer, tokens in variants(config):
        part = jax.ShapeDtypeStruct((1, tokens, config.problem.width), "float32")
        lowered = jax.jit(functools.partial(mixed, config, mixer, tokens)).lower((part,) * 5)
        found.append(lowered.cost_analysis()["flops"])
    return np.array(found)


def program(config, mesh):
    import jax
    import jax.numpy as jnp

    from experiments.lib import lanes

    problem, largest = config.problem, max(config.problem.tokens)

    def draw(key):
        return jax.random.normal(key, (5, 1, largest, problem.width))

    def repeated(mixer, tokens, parts):
        """Root mean square of the last output."""
        parts = parts[:, :, :tokens]

        def again(first, _):
            return mixed(config, mixer, problem.block, (first, *parts[1:])), None

        out, _ = jax.lax.scan(again, parts[0], length=largest // tokens)
        return jnp.sqrt(jnp.mean(jnp.square(out)))

    branches = [lambda parts, at=at: repeated(*at, parts) for at in variants(config)]

    def advance(_, parts, step):
        return step + 1, {"output": jax.lax.switch(step % len(branches), branches, parts)}

    return lanes.program(
        config, mesh, draw=draw, start=lambda _: jnp.int32(0), advance=advance, in_turn=True,
        axes={"variant": tuple(f"{mixer} {tokens}" for mixer, tokens in variants(config))},
    )  # fmt: skip


def main(config, run, mesh):
    from experiments.lib import driver
    from experiments.pooling import panels_mixing

    driver.drive(program(config, mesh), config, run)
    if not run.results:
        run.results(operations=operations(config))
    run.look(panels_mixing.quick_look)


if __name__ == "__main__":
    app.run(main, default_config="configs/pooling/mixing.py")
