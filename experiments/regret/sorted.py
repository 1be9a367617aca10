"""Drifting orders: the rows sorted by a group's attribute, so that whole groups come one after the other.

Source: `acharya:24`, Section 4 (sorted data). The synthetic law sorted by color, or Adult sorted by age.
"""

from experiments.lib import app


def _source(problem):
    from experiments.regret import sources

    if problem.data_set == "synthetic":
        return sources.by_color(sources.synthetic(problem.label, problem.num_rows))
    if problem.data_set == "adult":
        return sources.by_age(sources.adult(problem.source), problem.descending)
    raise ValueError(f"config.problem.data_set must be one of synthetic, adult, got {problem.data_set!r}.")


def program(config, mesh):
    from experiments.regret import protocol

    return protocol.program(config, mesh, _source(config.problem))


def main(config, run, mesh):
    from experiments.regret import panels, protocol

    protocol.drive(config, run, mesh, _source(config.problem))
    panels.drift_look(run)


if __name__ == "__main__":
    app.run(main, default_config="configs/regret/sorted.py")
