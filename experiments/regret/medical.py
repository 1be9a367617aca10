"""Yearly medical costs of 1,338 people in twelve groups: regret of every group, online ridge against group learners.

Source: `acharya:24`, Section 4 (medical costs).
"""

from experiments.lib import app


def program(config, mesh):
    from experiments.regret import protocol, sources

    return protocol.program(config, mesh, sources.medical(config.problem.source))


def main(config, run, mesh):
    from experiments.regret import panels, protocol, sources

    protocol.drive(config, run, mesh, sources.medical(config.problem.source))
    run.look(panels.quick_look)


if __name__ == "__main__":
    app.run(main, default_config="configs/regret/medical.py")
