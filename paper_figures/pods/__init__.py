"""Figures about slices that are not there, drawn from what is stored of compiled programs."""
