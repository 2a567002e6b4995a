"""schemathesis over DigitalOcean's description: what it allows, and some of what it forbids, for every operation.

Each answer is held against the description by the layer around the API (``api_support.Judge``), refusals too.
A few examples an operation here; SEAWALL_SOAK=1 makes it a hundred. The same examples each time.
"""

from __future__ import annotations

import json
import os
import re

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode

from .api_support import OPENAPI, TOKEN, cloud, served

EXAMPLES = 100 if os.environ.get("SEAWALL_SOAK") else 2
SERVED = sorted({(method, re.sub(r"\{\w+\}", "{}", path)) for method, path, _ in served()})


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    if not OPENAPI.exists():
        pytest.skip(f"DigitalOcean's OpenAPI subset is not here: {OPENAPI}")
    with cloud(tmp_path_factory.mktemp("schemathesis") / "api.sqlite3") as lab:
        lab.tag("a")
        yield lab


def operations(lab):
    """Those that the description has and the API serves."""
    document = json.loads(OPENAPI.read_text())
    found = schemathesis.openapi.from_dict(document)
    found.config.update(base_url=lab.url)
    for each in found.get_all_operations():
        operation = each.ok()
        if (operation.method.upper(), re.sub(r"\{\w+\}", "{}", operation.path)) in SERVED:
            yield operation


@pytest.mark.parametrize(
    "mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["allowed", "forbidden"]
)
def test_whatever_the_description_allows_is_answered_as_it_says(lab, mode):
    asked = 0
    for operation in operations(lab):

        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def ask(case):
            nonlocal asked
            asked += 1
            answer = case.call(headers={"Authorization": f"Bearer {TOKEN}"})
            assert answer.status_code < 500, f"{case.method} {case.formatted_path}: {answer.text}"

        ask()
    assert asked >= 60 * EXAMPLES // 2, f"{asked} requests: was anything asked?"
    assert lab.judge.objections == []
