"""Figures of the Halpern family."""
