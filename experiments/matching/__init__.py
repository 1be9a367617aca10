"""Experiments of the matching family."""
