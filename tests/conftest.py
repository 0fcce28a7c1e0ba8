from collections.abc import Iterator
from pathlib import Path

import pytest
from bake import bake


@pytest.fixture(scope="session")
def default_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a project baked with no answers. Tests read it and run it; none writes into it."""
    return bake(tmp_path_factory.mktemp("default"))


@pytest.fixture(autouse=True)
def an_empty_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Keep the settings of whoever runs the tests out of them."""
    monkeypatch.setenv("COOKIECUTTER_CONFIG", str(tmp_path / "no-such-config"))
    yield
