"""The official tools where present or reachable, the built ones only otherwise."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.engine import ENGINE_VERSION, choose
from lab.engine.choose import BIN, Facts, decide

OFFICIAL = Path("/opt/pulumi/bin/pulumi")
HOST = Path("/opt/pulumi/bin/pulumi-language-python")
PLUGIN = Path("/home/ops/.pulumi/plugins/resource-digitalocean-v4.76.1/pulumi-resource-digitalocean")
BUILT = BIN / "pulumi"


@pytest.mark.parametrize(
    ("facts", "origins", "ready", "path"),
    [
        (
            Facts(engine=OFFICIAL, engine_version="3.253.0", language_host=HOST, provider=PLUGIN),
            ("official", "official", "official"),
            True,
            [OFFICIAL.parent],
        ),
        (
            Facts(engine=OFFICIAL, engine_version="3.260.1", language_host=HOST, reachable=True),
            ("official", "official", "official"),
            True,
            [OFFICIAL.parent],
        ),
        (
            Facts(engine=OFFICIAL, engine_version="3.253.0", language_host=HOST, reachable=False),
            ("official", "official", "built"),
            True,
            [OFFICIAL.parent, BIN],
        ),
        (
            Facts(engine=OFFICIAL, engine_version="3.99.0", language_host=HOST, built_engine=BUILT),
            ("built", "built", "built"),
            True,
            [BIN],
        ),
        (
            Facts(engine=OFFICIAL, engine_version="3.253.0", built_engine=BUILT, provider=PLUGIN),
            ("built", "built", "official"),
            True,
            [BIN],
        ),
        (Facts(built_engine=BUILT), ("built", "built", "built"), True, [BIN]),
        (Facts(reachable=True), ("official", "official", "official"), False, []),
        (Facts(reachable=False), ("built", "built", "built"), False, [BIN]),
    ],
)
def test_the_order_in_which_a_user_would_pick(
    facts: Facts, origins: tuple[str, str, str], ready: bool, path: list[Path]
) -> None:
    found = decide(facts)
    assert (found.engine.origin, found.language_host.origin, found.provider.origin) == origins
    assert found.engine.ready is ready
    assert found.path == path
    assert ready or found.engine.remedy
    assert "\n" not in str(found)


def test_our_provider_does_not_hide_an_official_one_beside_our_host() -> None:
    assert decide(Facts(built_engine=BUILT, provider=PLUGIN)).variables == {
        "PULUMI_IGNORE_AMBIENT_PLUGINS": "true"
    }


def test_a_closed_network_is_not_asked_for_plugins() -> None:
    found = decide(Facts(built_engine=BUILT))
    assert found.closed
    assert found.variables == {"PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true"}


def test_an_old_engine_is_named() -> None:
    why = decide(
        Facts(engine=OFFICIAL, engine_version="3.99.0", language_host=HOST, built_engine=BUILT)
    ).engine.why
    assert "/opt/pulumi/bin/pulumi is 3.99.0" in why


def test_a_fake_official_engine_is_found_and_ours_is_not_taken_for_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = tmp_path / "bin" / "pulumi"
    engine.parent.mkdir()
    engine.write_text(f"#!/bin/sh\necho v{ENGINE_VERSION}\n")
    engine.chmod(0o755)
    monkeypatch.setenv("PULUMI_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", f"{BIN}:{engine.parent}:/usr/bin:/bin")
    (tmp_path / "cache" / "seawall" / "engine").mkdir(parents=True)
    (tmp_path / "cache" / "seawall" / "engine" / "downloads-reachable").write_text("no")
    facts = choose.look()
    assert (facts.engine, facts.engine_version, facts.language_host) == (engine, ENGINE_VERSION, None)
    assert facts.built_engine is None
    assert facts.reachable is False
