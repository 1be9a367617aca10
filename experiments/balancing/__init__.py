"""Experiments of the balancing family."""
