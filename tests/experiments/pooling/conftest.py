"""Configs of this family by their file names."""

import pytest


@pytest.fixture(scope="session")
def play(player):
    """`play(reference, overrides) -> (config, curves)`."""
    return player("pooling")
