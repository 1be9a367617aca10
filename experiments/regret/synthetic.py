"""The paper's synthetic law, 100,000 rounds in six groups: regret of every group, online ridge against group learners.

Source: `acharya:24`, Section 4 (synthetic data). Four labels: mean, min, max, dperm.
"""

from experiments.lib import app


def program(config, mesh):
    from experiments.regret import protocol, sources

    return protocol.program(config, mesh, sources.synthetic(**config.problem))


def main(config, run, mesh):
    from experiments.regret import panels, protocol, sources

    protocol.drive(config, run, mesh, sources.synthetic(**config.problem))
    run.look(panels.quick_look)


if __name__ == "__main__":
    app.run(main, default_config="configs/regret/synthetic.py")
