"""Figures and tables as pure functions of finished runs: `python -m paper_figures.make`."""
