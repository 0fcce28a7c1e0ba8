import json
from pathlib import Path

import pytest
from bake import bake


@pytest.fixture(scope="session")
def default_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a project baked with no answers. Tests read it and run it; none writes into it."""
    return bake(tmp_path_factory.mktemp("default"))


@pytest.fixture(autouse=True)
def an_empty_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the settings of whoever runs the tests out of them, and what cookiecutter keeps out of their home."""
    home = tmp_path_factory.mktemp("home")
    config = home / "config.json"
    config.write_text(json.dumps({"replay_dir": str(home), "cookiecutters_dir": str(home)}), "utf-8")
    monkeypatch.setenv("COOKIECUTTER_CONFIG", str(config))
