"""Experiments of the family `research.regret`."""
