"""What every test here needs: the compiler's wheel, or one line that says that it is not here."""

import pytest

from pallas_kernels._lab import LabError, process


@pytest.fixture(scope="session")
def compiler():
    """Name and version of the TPU compiler."""
    try:
        return process.compiler()
    except LabError as error:
        pytest.skip(str(error))
