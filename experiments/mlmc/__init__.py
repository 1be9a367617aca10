"""Experiments of the mlmc family."""
