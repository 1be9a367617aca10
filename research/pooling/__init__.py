"""Pooling operators for windows, sets, tokens and graphs, on six primitives."""
