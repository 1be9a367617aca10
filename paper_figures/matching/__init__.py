"""Figures of the matching family."""
