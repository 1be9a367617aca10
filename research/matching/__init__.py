"""Online Bayesian matching: relaxation, rounding, the philosopher, and what is between them."""
