import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from bake import bake, files


@pytest.fixture(scope="session", autouse=True)
def no_bytecode() -> Iterator[None]:
    """Let no process of a test leave bytecode in what another test reads."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONDONTWRITEBYTECODE", "1")
        yield


@pytest.fixture(scope="session")
def default_project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return a project baked with no answers. Tests read it and run it; none writes into it."""
    project = bake(tmp_path_factory.mktemp("default"))
    baked = files(project)
    yield project
    assert files(project) == baked


@pytest.fixture(autouse=True)
def an_empty_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the settings of whoever runs the tests out of them, and what cookiecutter keeps out of their home."""
    home = tmp_path_factory.mktemp("home")
    config = home / "config.json"
    config.write_text(json.dumps({"replay_dir": str(home), "cookiecutters_dir": str(home)}), "utf-8")
    monkeypatch.setenv("COOKIECUTTER_CONFIG", str(config))
    monkeypatch.setenv("PYTEST_DEBUG_TEMPROOT", str(home))  # else several at once remove each other's old folders
