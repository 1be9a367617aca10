"""Figures of the pooling family."""
