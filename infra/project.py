"""The project in the control panel under which the stack's resources are shown."""

from __future__ import annotations

from collections.abc import Iterable

import pulumi
import pulumi_digitalocean as do

from infra.settings import Settings
from infra.stack import Stack


def create(stack: Stack, settings: Settings, urns: Iterable[pulumi.Output[str]]) -> do.Project | None:
    """With ``urns`` in it; None if the settings name none: everything is in the account's default project then."""
    if settings.project is None:
        return None
    return do.Project(
        "project",
        name=settings.project.name,
        description=f"Made by Pulumi, stack {stack.name}",
        purpose="Web Application",
        environment=settings.project.environment,
        resources=list(urns),
    )
