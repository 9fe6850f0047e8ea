from collections.abc import Iterator

import pytest

from tests.distributed.pool import Pool


@pytest.fixture(scope="session")
def ranks() -> Iterator[Pool]:
    """Ranks of worlds of 1 to 4, started once."""
    pool = Pool()
    yield pool
    pool.close()
