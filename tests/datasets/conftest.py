from pathlib import Path

import pytest


@pytest.fixture
def bundled(dataset_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Raw files are the repository's own; caches go where the test says."""
    monkeypatch.setenv("PYG_RELATIONAL_RAW", str(dataset_root / "raw"))


@pytest.fixture
def published(raw_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Raw files of all data sets; caches go where the test says."""
    monkeypatch.setenv("PYG_RELATIONAL_RAW", str(raw_root))


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """No raw files but those of the root, and no network."""

    def urlopen(*args: object, **kwargs: object) -> None:
        raise ConnectionError("offline")

    monkeypatch.delenv("PYG_RELATIONAL_RAW", raising=False)
    monkeypatch.setattr("urllib.request.urlopen", urlopen)
