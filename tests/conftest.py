import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def dataset_root() -> Path:
    """The repository's data sets: PenDigits is there. Don't write into it."""
    return REPOSITORY / "datasets"


@pytest.fixture(scope="session")
def raw_root() -> Path:
    """Raw files of all data sets; a test that needs them is skipped where they are not."""
    named = os.environ.get("PYG_RELATIONAL_RAW")
    folder = Path(named) if named else REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("needs raw data sets in the folder that PYG_RELATIONAL_RAW names")
    return folder


@pytest.fixture(scope="session")
def reference_root() -> Path:
    """Numbers from the authors' programs; a test that needs them is skipped where they are not."""
    folder = REPOSITORY.parent / "shared" / "reference"
    if not folder.is_dir():
        pytest.skip("needs reference numbers in ../shared/reference")
    return folder
