"""Ways of balancing a mixture-of-experts language model: losses, how uneven loads are, who takes which domain.

A step is an optimiser step of every row, a replicate a seed. Metrics as in `lm_program`. Results: `sha256` of the text,
`train_tokens`, `domain_tokens`. Rows are read by `contest`.
Source: `wang:24`, Table 2; `han:25`, section 5, for schedules. Text and sizes are ours.
"""

from experiments.lib import app


def program(config, mesh):
    from experiments.balancing import lm_program

    return lm_program.program(config, mesh)


def main(config, run, mesh):
    from experiments.balancing import lm_program, panels_lm_schedules
    from experiments.lib import driver

    driver.drive(lm_program.program(config, mesh), config, run)
    run.results(**lm_program.recorded(config))
    run.look(panels_lm_schedules.quick_look)


if __name__ == "__main__":
    app.run(main, default_config="configs/balancing/lm_schedules.py")
