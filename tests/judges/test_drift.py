"""The drift history's page before a real browser and axe: alone, quiet, legible, on a phone and in the dark.

And the examples of a scheduled look before the schemas that the CI services publish.
"""

from __future__ import annotations

import json
import shutil

import pytest

from seawall.drift import page
from seawall.drift.history import History
from tests.judges.test_evidence import BROWSER, CHECKOUT, HERE, judge
from tests.unit.test_drift_history import NASTY, difference, report


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """A history of what lasts, what went, what is unknown, and what a host called itself to do harm."""
    if not shutil.which("chromium"):
        pytest.skip("there is no chromium: make judges installs it")
    folder = tmp_path_factory.mktemp("page")
    history = History(folder / "drift.sqlite")
    lasting = (
        difference(),
        difference("h", status="unknown", seen="no route"),
        difference(NASTY, seen=NASTY),
    )
    long = difference("f", layer="hosts", seen="sha256 " + "0123456789abcdef" * 12)
    history.record(report(*lasting, long))
    history.record(report(*lasting, minutes=15))
    (folder / "page.html").write_text(page.page("prod", history.spells("prod"), history.runs("prod")))
    history.close()
    return json.loads(judge(BROWSER, HERE / "browser.py", folder / "page.html", folder))


def test_the_page_asks_no_network_and_makes_no_noise(seen: dict) -> None:
    for name, view in seen.items():
        assert len(view["asked"]) == 1, name
        assert view["asked"][0].startswith("file://"), name
        assert view["errors"] == [], name


def test_the_page_fits_a_phone(seen: dict) -> None:
    assert all(view["width"] <= view["room"] for view in seen.values()), seen


def test_the_page_is_dark_where_the_reader_is(seen: dict) -> None:
    assert seen["desk-light"]["background"] == "rgb(255, 255, 255)"
    assert seen["desk-dark"]["background"] == "rgb(15, 20, 25)"


def test_everybody_can_read_the_page(seen: dict) -> None:
    assert [(name, each) for name, view in seen.items() for each in view["violations"]] == []


@pytest.mark.parametrize(("example", "schema"), [("github", "github-workflows"), ("gitlab", "gitlab-ci")])
def test_an_example_of_a_scheduled_look_is_what_its_service_takes(example: str, schema: str) -> None:
    judge(
        BROWSER, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}",
        CHECKOUT / f"docs/examples/drift-{example}.yml",
    )  # fmt: skip
