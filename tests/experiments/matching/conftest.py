"""Configs of this family by their file names."""

import pytest


@pytest.fixture(scope="session")
def play(player):
    """`play(reference, overrides) -> (config, curves)`."""
    return player("matching")


@pytest.fixture(scope="session")
def quick(finished):
    """`quick(reference) -> rundir.Run`."""
    return finished("matching")
