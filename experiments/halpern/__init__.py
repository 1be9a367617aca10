"""Experiments of the Halpern family."""
