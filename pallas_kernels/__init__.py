"""Kernels that know nothing of the algorithms above them; each folder is one public operation.

prequential_ridge: online ridge regression of many programs, exact, in blocks.
"""
