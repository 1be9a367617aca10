"""Income of 48,842 people in thirteen groups (Adult): regret of every group, online ridge against group learners.

Source: `acharya:24`, Section 4 (Adult). The paper's numbers are on the Adult reconstruction, which users bring
themselves: --config=configs/regret/adult.py:reconstruction --adult_reconstruction=PATH.
"""

from experiments.lib import app


def program(config, mesh):
    from experiments.regret import protocol, sources

    return protocol.program(config, mesh, sources.adult(config.problem.source))


def main(config, run, mesh):
    from experiments.regret import panels, protocol, sources

    protocol.drive(config, run, mesh, sources.adult(config.problem.source))
    run.look(panels.quick_look)


if __name__ == "__main__":
    app.run(main, default_config="configs/regret/adult.py")
