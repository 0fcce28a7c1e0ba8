"""A project is at home on every system, in any folder, on any console."""

import ntpath
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PureWindowsPath

import pytest
from bake import PROJECT, TEMPLATE, bake, files, git, run

# https://learn.microsoft.com/windows/win32/fileio/naming-a-file
FORBIDDEN = set('<>:"|?*\\') | {chr(code) for code in range(32)}


def own_files() -> list[str]:
    """Return the paths of what the repository holds, or is about to."""
    return git(TEMPLATE, "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")[:-1]


def is_reserved(name: str) -> bool:
    """Return whether Windows reserves `name` for a device."""
    if sys.version_info >= (3, 13):
        return ntpath.isreserved(name)
    return PureWindowsPath(name).is_reserved()


def test_no_two_names_differ_in_case_alone(default_project: Path) -> None:
    for names in (own_files(), sorted(files(default_project))):
        folded = {name.casefold() for name in names}
        assert len(folded) == len(names) > 15


def test_windows_can_have_every_name(default_project: Path) -> None:
    for path in [*own_files(), *files(default_project)]:
        assert len(path) < 130  # of 259 characters, so that some are left for the folders above
        for name in path.split("/"):
            assert not FORBIDDEN & set(name), path
            assert name[-1] not in ". ", path
            assert not is_reserved(name), path


def test_every_line_ends_with_a_newline_alone(default_project: Path) -> None:
    paths = [TEMPLATE / name for name in own_files()] + [default_project / name for name in files(default_project)]
    for path in paths:
        if path.suffix == ".png" or not path.exists():
            continue
        content = path.read_bytes()
        assert b"\r" not in content, path
        assert content.endswith(b"\n") or not content, path
        assert content.decode("utf-8") is not None


@pytest.mark.parametrize("root", [TEMPLATE, PROJECT], ids=["template", "project"])
def test_git_checks_text_out_as_it_is_on_every_system(root: Path) -> None:
    assert (root / ".gitattributes").read_text("utf-8") == "* text=auto eol=lf\n"


def baking(output_dir: Path) -> list[str]:
    """Return the command that bakes into `output_dir`."""
    return [sys.executable, "-m", "cookiecutter", "--no-input", "--output-dir", str(output_dir), str(TEMPLATE)]


def test_a_bake_leaves_nothing_in_the_template_and_brings_no_bytecode(
    tmp_path: Path, default_project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)

    subprocess.run(baking(tmp_path / "out"), check=True)

    assert files(tmp_path / "out" / "db-ally-file-handler") == files(default_project)
    assert not list(PROJECT.rglob("__pycache__"))


def test_a_project_stays_if_nobody_reads_what_the_hook_says(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)

    subprocess.run(baking(tmp_path), stdout=write, check=True)

    os.close(write)
    assert (tmp_path / "db-ally-file-handler" / "README.md").exists()


@pytest.mark.skipif(os.name == "nt", reason="it takes a POSIX shell to close an output")
def test_a_project_stays_if_the_hook_has_no_output(tmp_path: Path) -> None:
    subprocess.run(["sh", "-c", 'exec "$@" >&-', "sh", *baking(tmp_path)], check=True)

    assert (tmp_path / "db-ally-file-handler" / "README.md").exists()


def test_a_project_stays_if_the_console_cannot_spell_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "Zażółć 日本"
    console = {**os.environ, "PYTHONIOENCODING": "cp1252", "PYTHONUTF8": "0"}  # as in many a Windows

    done = subprocess.run(baking(folder), env=console, stdout=subprocess.PIPE, encoding="cp1252", check=True)

    assert (folder / "db-ally-file-handler" / "README.md").exists()
    assert "Za?ó?? ??" in done.stdout
    assert "uv run check.py" in done.stdout


WITHOUT_POSIX = """
import asyncio, os

import dbally

for name in ("O_NOFOLLOW", "O_NONBLOCK", "fchmod", "fork", "getuid", "register_at_fork"):
    delattr(os, name)
os.O_BINARY = 0
import ask

asyncio.run(ask.main())
"""


@pytest.mark.skipif(os.name != "posix", reason="takes away what POSIX has")
def test_it_records_and_shows_without_what_windows_lacks(default_project: Path, tmp_path: Path) -> None:
    path = os.pathsep.join([str(default_project / "src"), str(default_project / "examples")])
    env = {**os.environ, "PYTHONPATH": path, "PYTHONUTF8": "0"}
    recording = {**env, "PYTHONIOENCODING": "utf-8"}
    showing = {**env, "PYTHONIOENCODING": "cp1252"}

    subprocess.run([sys.executable, "-c", WITHOUT_POSIX], cwd=tmp_path, env=recording, check=True)

    for arguments, shown in ((["list"], rb"Who works in Krak\xf3w\?"), (["show", "-1"], rb"1 filter decision +=+ ")):
        command = [sys.executable, "-m", "db_ally_file_handler", *arguments]
        done = subprocess.run(command, cwd=tmp_path, env=showing, check=True, capture_output=True)
        assert re.search(shown, done.stdout)


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Take away what lets files be written in `folder`."""
    modes = {path: path.stat().st_mode for path in (folder, *folder.rglob("*"))}
    for path, mode in modes.items():
        path.chmod(mode & ~0o222)
    yield
    for path, mode in modes.items():
        path.chmod(mode)


# Modes do not bind root, unless it gives up the capabilities to pass over them.
BOUND = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all"]


@pytest.mark.matrix
@pytest.mark.skipif(os.name == "nt", reason="modes as POSIX has them")
def test_a_read_only_project_in_a_folder_with_any_letters_passes_its_tests_on_two_workers(tmp_path: Path) -> None:
    project = bake(tmp_path / "Zażółć gęślą jaźń 日本 it's 100% {x}", log_directory="dziennik zdarzeń/日本")
    bound = BOUND if os.geteuid() == 0 else []
    command = [*bound, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "2"]
    strict = {**os.environ, "PYTHONWARNDEFAULTENCODING": "1", "PYTHONASYNCIODEBUG": "1"}

    with read_only(project):
        done = subprocess.run(command, cwd=project, env=strict, capture_output=True, encoding="utf-8")
    shown = run(project, "examples.ask", env={"PYTHONPATH": os.pathsep.join(["src", "examples"])})

    assert done.returncode == 0, done.stdout
    assert "Ann and Chen work in Kraków." in shown
    assert list((project / "dziennik zdarzeń" / "日本").iterdir())


@pytest.mark.matrix
def test_a_project_runs_its_tests_without_assert_statements(tmp_path: Path) -> None:
    command = [sys.executable, "-O", "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "2"]

    done = subprocess.run(command, cwd=bake(tmp_path), capture_output=True, encoding="utf-8")

    assert done.returncode == 0, done.stdout
