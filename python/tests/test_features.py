"""scripts/features: a table of features holds only what tests show that have run."""

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import WAIT

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "features"
if not SCRIPT.exists():
    pytest.skip("the scripts are in the source tree, which these tests are not in here", allow_module_level=True)

MINE = "test_features.py::test_what_has_run_is_shown"
HEAD = "| feature | ours | shown by |\n|---|---|---|\n"
ANOTHER = "test_features.py::test_on_a_gpu_what_is_left_for_it_has_run"  # which no report here has
PASSED = '<testcase classname="python.tests.test_features" name="test_what_has_run_is_shown"/>'
CASE = '<testcase classname="python.tests.test_features" name="test_what_has_run_is_shown[{}]">{}</testcase>'
SKIPPED = '<skipped message="no GPU: there is no driver"/>'
WHOLE = (  # a file that was skipped before its tests were known
    '<testcase classname="" name="python.tests.test_features">'
    '<skipped message="collection skipped">no GPU</skipped></testcase>'
)
CTEST = '<testsuite><testcase name="soak" status="{}">{}</testcase></testsuite>'


@pytest.fixture
def check(tmp_path):
    """Checks a table of these rows against a report of these cases; returns (exit code, what it said)."""

    def check(rows, cases=PASSED, *options, ctest=None):
        table, report = tmp_path / "features-x.md", tmp_path / "report.xml"
        table.write_text("# Features\n\n" + HEAD + rows + "\n")
        report.write_text(f"<testsuites><testsuite>{cases}</testsuite></testsuites>")
        command = [sys.executable, SCRIPT, "--check", "--tables", table, *options]
        if ctest is not None:
            (tmp_path / "ctest.xml").write_text(ctest)
            command += ["--ctest", tmp_path / "ctest.xml"]
        done = subprocess.run([*command, report], capture_output=True, text=True, timeout=WAIT)
        return done.returncode, done.stdout + done.stderr

    return check


@pytest.mark.parametrize("cases", [PASSED, CASE.format("a", "") + CASE.format("b", SKIPPED)])
def test_what_has_run_is_shown(check, cases):
    assert check(f"| a word | ours | `{MINE}` |", cases) == (0, "features: 1 rows, 0 mistakes\n")


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("| a word | ours | `test_features.py::test_nothing` |", "there is no test 'test_features.py::test_nothing'"),
        ("| a word | ours | `test_nowhere.py::test_x` |", "there is no test 'test_nowhere.py::test_x'"),
        ("| a word | ours | ctest `no_such_test` |", "there is no test 'no_such_test' of ctest"),
        ("| a word | ours | `test_features.py::check` |", "there is no test 'test_features.py::check'"),
        ("| a word | ours | `" + ANOTHER + "` |", "has not run: no report has it"),
        ("| a word | ours | |", "no test shows it"),
        ("| a word | ours | it works |", "'it works' is none of"),
        ("| a word | | `" + MINE + "` |", "a cell is empty"),
        ("| a word | not offered, because so | |", "says why"),
        ("| a word | not offered, because nobody has asked for it | `" + MINE + "` |", "and shows nothing"),
    ],
)
def test_a_row_without_a_test_that_exists_and_ran_is_named(check, row, says):
    code, said = check(f"| first | ours | `{MINE}` |\n{row}")
    assert code == 1
    assert says in said
    assert "features-x.md:6: a word:" in said
    assert "first" not in said


@pytest.mark.parametrize(
    ("cases", "says"),
    [
        ("", "no report has it"),
        (CASE.format("a", "") + CASE.format("b", "<failure/>"), "has failed"),
        (CASE.format("a", "<error/>"), "has failed"),
        (CASE.format("a", SKIPPED), "it was skipped (no GPU"),
        (WHOLE, "it was skipped (collection skipped no GPU)"),
    ],
)
def test_a_test_that_did_not_run_shows_nothing(check, cases, says):
    code, said = check(f"| a word | ours | `{MINE}` |", cases)
    assert code == 1
    assert says in said


def test_what_a_row_leaves_for_gpu_check_may_be_skipped_for_want_of_a_gpu(check):
    left = f"| a word | ours | `{MINE}` (gpu-check) |"
    assert check(left, CASE.format("a", SKIPPED))[0] == 0
    assert check(left, WHOLE)[0] == 0
    assert check(left, PASSED)[0] == 0
    code, said = check(left, CASE.format("a", '<skipped message="numpy is not installed"/>'))
    assert (code, "for another reason (numpy" in said) == (1, True)
    assert check(left, "")[0] == 1


def test_on_a_gpu_what_is_left_for_it_has_run(check):
    rows = f"| a word | ours | `{MINE}` (gpu-check) |\n| another | ours | `{ANOTHER}` |"
    assert check(rows, PASSED, "--on-gpu")[0] == 0
    code, said = check(rows, CASE.format("a", SKIPPED), "--on-gpu")
    assert (code, "has not run: it was skipped" in said) == (1, True)


def test_tests_of_ctest_have_run_where_its_report_is_there(check):
    row = "| a word | ours | ctest `soak` |"
    skip = '<skipped message="SKIP_RETURN_CODE=77"/>'
    assert check(row)[0] == 0
    assert check(row, ctest=CTEST.format("run", ""))[0] == 0
    assert check(row, ctest=CTEST.format("fail", "<failure/>"))[0] == 1
    assert check(row, ctest=CTEST.format("notrun", skip))[0] == 1
    assert check(row, ctest="<testsuite/>")[0] == 1
    left = "| a word | ours | ctest `soak` (gpu-check) |"
    assert check(left, ctest=CTEST.format("notrun", skip))[0] == 0
    assert check(left, ctest=CTEST.format("notrun", '<skipped message="Unable to find executable"/>'))[0] == 1


def test_a_page_without_a_table_and_a_report_that_is_not_there_are_mistakes(check, tmp_path):
    assert "has no table" in check("")[1]
    page = tmp_path / "features-x.md"
    for reports in ([tmp_path / "nothing.xml"], ["--ctest", tmp_path / "nothing.xml", tmp_path / "report.xml"]):
        done = subprocess.run([sys.executable, SCRIPT, "--tables", page, *reports], capture_output=True, timeout=WAIT)
        assert done.returncode == 2


def test_the_projects_tables_name_tests_that_are_there(tmp_path):
    """That they have run scripts/test-python checks, when it has their reports."""
    report = tmp_path / "report.xml"
    report.write_text("<testsuite/>")
    done = subprocess.run([sys.executable, SCRIPT, "--check", report], capture_output=True, text=True, timeout=WAIT)
    assert [line for line in done.stderr.splitlines() if not line.endswith("no report has it")][:-1] == []
    assert len(done.stderr.splitlines()) > 50
