"""Open a report in Debian's chromium and say what it did, as JSON: run by the judges' own Python.

python browser.py report.html SCREENSHOTS-FOLDER
"""

import json
import sys
from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import sync_playwright

VIEWS = {
    "desk-light": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "light"},
    "desk-dark": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 844}, "color_scheme": "light"},
}


def main(report, folder):
    said = {}
    with sync_playwright() as play:
        # As root, as in CI, chromium's own sandbox does not start; the page is ours and reaches no network.
        browser = play.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        for name, settings in VIEWS.items():
            page = browser.new_page(**settings)
            asked, errors = [], []
            page.on("request", lambda request, asked=asked: asked.append(request.url))
            page.on("console", lambda message, errors=errors: errors.append(message.text))
            page.on("pageerror", lambda error, errors=errors: errors.append(str(error)))
            page.goto(Path(report).resolve().as_uri())
            page.screenshot(path=f"{folder}/{name}.png")
            found = Axe().run(page).response["violations"]
            said[name] = {
                "asked": asked,
                "errors": errors,
                "width": page.evaluate("document.documentElement.scrollWidth"),
                "room": page.evaluate("window.innerWidth"),
                "background": page.evaluate("getComputedStyle(document.body).backgroundColor"),
                "violations": [
                    {
                        "id": each["id"],
                        "impact": each["impact"],
                        "where": [node["target"] for node in each["nodes"]][:3],
                    }
                    for each in found
                ],
            }
            page.close()
        browser.close()
    print(json.dumps(said))


main(*sys.argv[1:])
