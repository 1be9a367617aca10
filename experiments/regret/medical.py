"""Yearly medical costs of 1,338 people in twelve groups: regret of every group, online ridge against group learners.

Source: `acharya:24`, Section 4 (Medical costs).
"""

from experiments.lib import app


def _source(config):
    from experiments.data import insurance
    from experiments.regret import sources

    return sources.tabular(lambda: insurance.load(source=config.problem.source), insurance.SHAPES, insurance.GROUP_SIZES)


def program(config, mesh):
    from experiments.regret import protocol

    return protocol.program(config, mesh, _source(config))


def main(config, run, mesh):
    from experiments.regret import panels, protocol

    protocol.drive(config, run, mesh, _source(config))
    panels.save(panels.regret_panels(run), run.figure("regret"))


if __name__ == "__main__":
    app.run(main, default_config="configs/regret/medical.py")
