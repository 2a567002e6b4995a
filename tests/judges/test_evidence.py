"""The evidence before judges that did not grow up with it: a real browser, axe, compliance-trestle.

Each runs in a virtual environment of its own, which `make judges` sets up; one that is not there skips, and says so.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from seawall.evidence.parts import oscal, report
from tests.unit.test_evidence_requirements import whole

CHECKOUT = Path(__file__).parents[2]
BROWSER, TRESTLE = CHECKOUT / ".venv-judges/bin/python", CHECKOUT / ".venv-oscal/bin/python"
HERE = Path(__file__).parent


def judge(python: Path, *words: str | Path) -> str:
    """What a judge says; it has to come to its end."""
    if not python.exists():
        pytest.skip(f"{python.parent.parent.name} is not set up: make judges")
    done = subprocess.run([python, *words], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict:
    if not shutil.which("chromium"):
        pytest.skip("there is no chromium: make judges installs it")
    folder = tmp_path_factory.mktemp("report")
    (folder / "report.html").write_text(report.render(report.material(whole()), printed=False))
    return json.loads(judge(BROWSER, HERE / "browser.py", folder / "report.html", folder))


def test_the_report_asks_no_network_and_makes_no_noise(seen: dict) -> None:
    for name, view in seen.items():
        assert [url for url in view["asked"] if not url.startswith("file://")] == [], name
        assert len(view["asked"]) == 1, name
        assert view["errors"] == [], name


def test_the_report_fits_a_phone(seen: dict) -> None:
    assert all(view["width"] <= view["room"] for view in seen.values()), seen


def test_the_report_is_dark_where_the_reader_is(seen: dict) -> None:
    assert seen["desk-light"]["background"] == "rgb(255, 255, 255)"
    assert seen["desk-dark"]["background"] == "rgb(20, 24, 30)"


def test_everybody_can_read_the_report(seen: dict) -> None:
    """axe-core's rules (WCAG 2), in each view."""
    assert [(name, each) for name, view in seen.items() for each in view["violations"]] == []


def test_trestle_takes_the_oscal_documents(tmp_path: Path) -> None:
    oscal.write(whole(), tmp_path)
    assert judge(TRESTLE, HERE / "oscal.py", tmp_path).startswith("2 observations")


def test_trestle_refuses_a_document_that_is_none(tmp_path: Path) -> None:
    """The judge judges: one field of the wrong kind, and it says no."""
    oscal.write(whole(), tmp_path)
    path = tmp_path / "assessment-results.json"
    held = json.loads(path.read_text())
    held["assessment-results"]["results"][0]["observations"][0]["methods"] = "TEST"
    path.write_text(json.dumps(held))
    with pytest.raises(AssertionError):
        judge(TRESTLE, HERE / "oscal.py", tmp_path)
