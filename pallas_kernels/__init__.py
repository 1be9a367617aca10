"""Kernels that know nothing of the algorithms above them; each folder is one public operation.

match_scan: online matching by the closed-form rounding, many replicates at once.
prequential_ridge: online ridge regression of many programs, exact, in blocks.
"""
