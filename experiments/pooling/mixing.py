"""How long tokens take to see each other, by their number: PoNet's pooled mixer and softmax attention.

A step runs one variant, a mixer at a number of tokens, as often as the largest number holds it, each time on what it
has just made; variants go in turn, and the first lap warms up. `timing.jsonl` has the seconds. Metric, `[R]`: `output`,
root mean square of what the last mix gave, which no clock changes. Axes: `variant`, "mixer tokens".
Source: `tan:22`, section 3, for PoNet's linear time.
"""

from experiments.lib import app

MIXERS = ("PoNet", "attention")


def variants(config):
    """(mixer, tokens) in turn."""
    return [(mixer, tokens) for tokens in config.problem.tokens for mixer in MIXERS]


def program(config, mesh):
    import jax
    import jax.numpy as jnp

    from experiments.lib import lanes
    from research.pooling import ponet

    problem, largest = config.problem, max(config.problem.tokens)

    def draw(key):
        return jax.random.normal(key, (5, 1, largest, problem.width))

    def mixed(mixer, tokens, parts):
        """Root mean square of the last output."""
        parts, mask = parts[:, :, :tokens], jnp.ones((1, tokens), bool)

        def again(first, _):
            if mixer == "PoNet":
                out = ponet.ponet_mix(first, *parts[1:], mask, heads=problem.heads, segments=problem.segments)
            else:
                out = ponet.attention_mix(first, *parts[1:3], mask, heads=problem.heads, block=problem.block)
            return out, None

        out, _ = jax.lax.scan(again, parts[0], length=largest // tokens)
        return jnp.sqrt(jnp.mean(jnp.square(out)))

    branches = [lambda parts, at=at: mixed(*at, parts) for at in variants(config)]

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
    panels_mixing.quick_look(run)


if __name__ == "__main__":
    app.run(main, default_config="configs/pooling/mixing.py")
