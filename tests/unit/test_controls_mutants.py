"""Nothing that is managed goes without a mutant, unless somebody wrote down why."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from tests.controls.catalogue import every
from tests.lab.mutants import WITHOUT
from tests.lab.test_controls_mutants import EVERY

ROLES = Path(__file__).parents[2] / "roles"


def defaults(role: str) -> dict:
    return yaml.safe_load((ROLES / role / "defaults" / "main.yml").read_text())


def test_every_control_is_some_mutants():
    tried = {control for mutant in EVERY for control in mutant.controls}
    known = {control.id for control in every()}
    assert tried - known == set()
    assert known - tried - set(WITHOUT) == set()


def test_every_keyword_of_sshds_is_broken_by_one():
    settings = {**defaults("sshd")["sshd_settings"], **defaults("sshd")["sshd_optional_settings"]}
    broken = {word for mutant in EVERY for word in re.findall(r"\b[A-Z]\w+", mutant.broken)}
    assert set(settings) - broken - set(WITHOUT) == set()


def test_every_setting_of_the_kernels_is_broken_by_one():
    broken = {mutant.name.removeprefix("kernel: ") for mutant in EVERY}
    assert set(defaults("kernel")["kernel_sysctls"]) - broken - set(WITHOUT) == set()


def test_reasons_are_for_what_has_no_mutant():
    tried = {control for mutant in EVERY for control in mutant.controls}
    tried |= {mutant.name.removeprefix("kernel: ") for mutant in EVERY}
    assert set(WITHOUT) & tried == set()


def test_names_tell_mutants_apart():
    names = [mutant.name for mutant in EVERY]
    assert len(names) == len(set(names))
