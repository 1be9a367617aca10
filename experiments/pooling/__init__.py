"""Experiments of the pooling family."""
