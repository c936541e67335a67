"""scripts/python-api: the reference is what the docstrings say, and what has none is found."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import WAIT

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "python_api.py"
if not SCRIPT.exists():
    pytest.skip("the scripts are in the source tree, which these tests are not in here", allow_module_level=True)
pytest.importorskip("griffe", reason="griffe is not installed: it reads the sources for the reference")


@pytest.fixture
def copy(tmp_path):
    """The package's sources, to be changed, with their pages."""
    shutil.copytree(ROOT / "python" / "ipcq", tmp_path / "ipcq", ignore=shutil.ignore_patterns("_native", "*.so"))
    shutil.copytree(ROOT / "docs" / "python-api", tmp_path / "pages")
    return tmp_path


def run(folder, *options):
    command = [sys.executable, SCRIPT, folder, folder / "pages", *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=WAIT)


def change(file, old, new):
    text = file.read_text()
    assert text.count(old) >= 1
    file.write_text(text.replace(old, new, 1))


def test_the_pages_are_those_of_the_sources(copy):
    checked = run(copy, "--check")
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_each_public_name_has_an_entry():
    package = (ROOT / "python" / "ipcq" / "__init__.py").read_text()
    index = (ROOT / "docs" / "python-api" / "README.md").read_text()
    names = [line.strip(' ",') for line in package.partition("__all__ = [")[2].partition("]")[0].split("\n")]
    assert len([name for name in names if name]) > 60
    assert [name for name in names if f"| [`{name}`](" not in index and name] == []


@pytest.mark.parametrize(
    ("file", "old", "new", "says"),
    [
        ("_consumer.py", "Leaves the group, and gives", "Leaves its group, and gives", "Consumer.md is not what the"),
        ("_client.py", '        """Whether the call is over."""\n', "", "ipcq.Call.done has no docstring"),
        ("_core.pyi", '        """A copy of the payload."""', "        pass", "ipcq.Message.tobytes has no docstring"),
        ("_stats.py", "  waiting: Messages", "  waited: Messages", "ipcq.GroupStats.waiting has no docstring"),
        ("_stats.py", "  waiting: Messages", "  waited: Messages", "an attribute 'waited', and the class has"),
        ("_client.py", "   length: Of a loan.", "   size: Of a loan.", "'size', and its signature has"),
        ("_system.py", "def devices() ->", "def gpus() ->", "ipcq.__all__ names 'devices'"),
    ],
)
def test_what_is_wrong_is_named(copy, file, old, new, says):
    change(copy / "ipcq" / file, old, new)
    checked = run(copy, "--check")
    assert checked.returncode == 1
    assert says in checked.stdout + checked.stderr


def test_a_name_that_becomes_public_has_its_entry_without_a_list(copy):
    package = copy / "ipcq" / "__init__.py"
    change(package, "from ._session import", "from ._sizes import parse_size\nfrom ._session import")
    change(package, '    "pause",\n', '    "parse_size",\n    "pause",\n')
    assert run(copy, "--check").returncode == 1
    assert run(copy).returncode == 0
    assert "## parse_size" in (copy / "pages" / "functions.md").read_text()


def test_a_keyword_is_described_where_its_options_are_or_where_they_are_taken(copy):
    options, session = copy / "ipcq" / "_options.py", copy / "ipcq" / "_session.py"
    change(options, '    """Longest reply in bytes that it expects."""\n', "")
    assert "reply_bytes" not in run(copy).stdout  # Session.client() says it
    assert "`reply_bytes` (`int`): Longest reply that it expects:" in (copy / "pages" / "options.md").read_text()
    change(session, "            reply_bytes: Longest reply that", "            reply: Longest reply that")
    said = run(copy).stdout
    assert "ipcq.ClientOptions.reply_bytes has no docstring" in said
    assert "an argument 'reply', and its signature has none" in said


def test_a_page_of_what_is_gone_is_taken_away(copy):
    (copy / "pages" / "Gone.md").write_text("# Gone\n")
    assert run(copy, "--check").returncode == 1
    assert run(copy).returncode == 0
    assert not (copy / "pages" / "Gone.md").exists()
