"""What `help` of the package says is what happens."""

import asyncio
import doctest
import json
import pathlib
import re
from pathlib import Path
from typing import Any

import application
import pytest
from dbally.audit.event_handlers.base import EventHandler
from dbally.collection.collection import Collection
from sqlalchemy import Engine

import {{ cookiecutter.package_name }} as package


class Checker(doctest.OutputChecker):
    """Takes every id and every time for those that are printed."""

    def check_output(self, want: str, got: str, flags: int) -> bool:
        got = re.sub(r"(?m)^('?)[0-9a-f]{8}", r"\g<1>1f2e3d4c", got)
        want, got = (re.sub(r"\d{4}-\d\d-\d\d [\d:.]{12}", "<time>", text) for text in (want, got))
        return super().check_output(want, got, flags)


def test_the_tutorial_is_true_and_fits_on_a_screen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: Engine
) -> None:
    def make_collection(name: str, event_handlers: list[EventHandler[Any, Any]]) -> Collection:
        return application.make_collection(engine, *event_handlers, name=name)

    monkeypatch.chdir(tmp_path)
    tutorial = package.__doc__ or ""
    names = {name: getattr(package, name) for name in package.__all__} | {
        "asyncio": asyncio,
        "json": json,
        "pathlib": pathlib,
        "make_collection": make_collection,
    }
    test = doctest.DocTestParser().get_doctest(tutorial, names, "tutorial", None, None)
    runner = doctest.DocTestRunner(Checker(), optionflags=doctest.ELLIPSIS | doctest.REPORT_NDIFF)

    printed: list[str] = []
    runner.run(test, out=printed.append)

    assert runner.failures == 0, "".join(printed)
    assert runner.tries == 14
    assert len(tutorial.splitlines()) < 45
