"""Repeatedly nested expectations by randomized multilevel Monte Carlo, and what one would compare it with."""
