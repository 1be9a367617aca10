"""Figures and tables of groupwise regret."""
