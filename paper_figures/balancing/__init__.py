"""Figures of the balancing family."""
