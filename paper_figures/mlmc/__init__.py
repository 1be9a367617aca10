"""Figures of the mlmc family."""
