"""The tutorial that `help` of the package shows is true.

Delete this file if you replace the docstring of the package by something that cannot be run.
"""

import asyncio
import doctest
import json
import pathlib
import re
from functools import partial

import application
from conftest import OPTIONS
from files import Handler

import {{ cookiecutter.package_name }} as package

ID = re.compile(r"\b(?=[0-9a-f]*[0-9])[0-9a-f]{8}")
TIME = re.compile(r"\d{4}-\d\d-\d\d [\d:.]{12}")


def normalized(text):
    return TIME.sub("<time>", ID.sub("<id>", text))


class Checker(doctest.OutputChecker):
    """Takes all ids for the same, and all times."""

    def check_output(self, want, got, flags):
        return super().check_output(normalized(want), normalized(got), flags)


def test_the_tutorial_is_true_and_fits_on_a_screen(tmp_path, monkeypatch, engine):
    def make_collection(name, event_handlers):
        return application.make_collection(engine, *event_handlers, name=name)

    monkeypatch.chdir(tmp_path)
    tutorial = package.__doc__ or ""
    names = {name: getattr(package, name) for name in package.__all__}
    names |= {
        # As the tutorial says, whatever defaults your handler has.
        Handler.__name__: partial(Handler, log_format="jsonl", **OPTIONS),
        "asyncio": asyncio,
        "json": json,
        "pathlib": pathlib,
        "make_collection": make_collection,
    }
    examples = doctest.DocTestParser().get_doctest(tutorial, names, "tutorial", None, None)
    runner = doctest.DocTestRunner(
        Checker(), optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    )

    printed = []
    runner.run(examples, out=printed.append)

    assert printed == []
    assert runner.tries > 5
    assert len(tutorial.splitlines()) < 60
