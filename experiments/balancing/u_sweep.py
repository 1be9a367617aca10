"""Step sizes of bias updates on a language model, by schedule: loss, balance, and the walls on both sides.

A step is an optimiser step of every row, a replicate a seed. Rows `RULE SCHEDULE U`, read by `contest`; metrics and
results as in `lm_schedules`. Too small a step cannot travel to the balancing bias in time, too large a one oscillates.
Source: `han:25`, section 5, for the grid; the left wall: `research.balancing.bounds.reachable_spread`.
"""

from experiments.lib import app


def program(config, mesh):
    from experiments.balancing import lm_program

    return lm_program.program(config, mesh)


def main(config, run, mesh):
    from experiments.balancing import lm_program, panels_u_sweep
    from experiments.lib import driver

    driver.drive(lm_program.program(config, mesh), config, run)
    run.results(**lm_program.recorded(config))
    run.look(panels_u_sweep.quick_look)


if __name__ == "__main__":
    app.run(main, default_config="configs/balancing/u_sweep.py")
