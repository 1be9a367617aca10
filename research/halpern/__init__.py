"""Variance-reduced Halpern iteration: 0 in F(u) + G(u) for a finite sum F, solved with a certificate.

Source: `cai:24`. Import the module you need, for example `from research.halpern import page`.
"""
