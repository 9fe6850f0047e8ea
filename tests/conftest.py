import os
from pathlib import Path

import pytest
import torch

from tests.placed import Placed

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


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--device", help="only tests that take a device, on this one: cpu or cuda")
    parser.addoption("--place", help="what tests make without a device is on this one: cuda")


def pytest_configure(config: pytest.Config) -> None:
    """From here on, so that what test files make when they are imported is placed, too."""
    if place := config.getoption("--place"):
        mode = Placed(torch.device(place))
        config.add_cleanup(lambda: mode.__exit__(None, None, None))
        mode.__enter__()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if device := config.getoption("--device"):
        kept = [item for item in items if _takes(item, device)]
        config.hook.pytest_deselected(items=[item for item in items if item not in kept])
        items[:] = kept


def _takes(item: pytest.Item, device: str) -> bool:
    """By its parameter, by its mark, or by the fixture of Triton's kernels."""
    parameters = getattr(getattr(item, "callspec", None), "params", {})
    if "device" in parameters:
        return bool(parameters["device"] == device)
    if item.get_closest_marker("cuda"):
        return device == "cuda"
    return "device" in getattr(item, "fixturenames", ())
