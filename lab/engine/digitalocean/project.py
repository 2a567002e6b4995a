"""Projects: how an account's resources are grouped for people."""

from __future__ import annotations

from lab.engine.digitalocean.api import Api, segment
from lab.engine.digitalocean.fields import flag, name, not_empty, one_of, text, told, unordered
from lab.engine.digitalocean.resource import MINUTE, Answer, Properties, Resource, received, sent, without

PATH = "/v2/projects"


def _resources(api: Api, identity: str) -> list[str]:
    doing = f"listing what is in project {identity}"
    return [each["urn"] for each in api.pages(f"{PATH}/{segment(identity)}/resources", "resources", doing)]


def assign(api: Api, identity: str, urns: list[str]) -> None:
    """Move resources into a project; each is in one at a time."""
    if urns:
        doing = f"moving {len(urns)} resources into project {identity}"
        api.call("POST", f"{PATH}/{segment(identity)}/resources", doing, {"resources": sorted(urns)})


def release(api: Api, identity: str, urns: set[str]) -> None:
    """Give what is still there back to the account's default project."""
    if left := urns & set(_resources(api, identity)):
        default = api.call("GET", f"{PATH}/default", "looking for the default project")["project"]["id"]
        assign(api, default, sorted(left))


def _answer(api: Api, document: Answer) -> Properties:
    found = received(without(PROJECT.fields, "resources"), document)
    return {**found, "resources": _resources(api, document["id"])}


def _update(api: Api, identity: str, state: Properties, plan: Properties) -> None:
    body = sent(without(PROJECT.fields, "resources"), plan)
    body.setdefault("is_default", False)
    body.setdefault("description", "")
    api.call("PATCH", f"{PATH}/{segment(identity)}", f"updating the project {plan['name']}", body)
    if plan.get("resources") is not None:
        _move(api, identity, state, plan)


def _move(api: Api, identity: str, state: Properties, plan: Properties) -> None:
    assign(api, identity, plan["resources"])
    release(api, identity, set(state.get("resources") or []) - set(plan["resources"]))


class _Project(Resource):
    def create(self, api: Api, plan: Properties) -> tuple[str, Properties]:
        identity, properties = super().create(api, plan)
        assign(api, identity, plan.get("resources") or [])
        return identity, properties


PROJECT = _Project(
    token="digitalocean:index/project:Project",  # noqa: S106
    noun="project",
    path=PATH,
    envelope="project",
    listed="projects",
    fields={
        "name": name(),
        "description": text(),
        "purpose": text(default="Web Application"),
        "environment": text(check=one_of("Development", "Staging", "Production", fold=True), same=str.lower),
        "isDefault": flag(),
        "resources": unordered(text(check=not_empty), computed=True, api=""),
        "ownerUuid": told(),
        "ownerId": told("integer"),
        "createdAt": told(),
        "updatedAt": told(),
    },
    answer=_answer,
    update=_update,
    before_delete=lambda api, identity, properties: release(api, identity, set(_resources(api, identity))),
    official_timeouts={"delete": 3 * MINUTE},
)


class _ProjectResources(Resource):
    """Some resources' place in a project; its id is the project's."""

    def create(self, api: Api, plan: Properties) -> tuple[str, Properties]:
        assign(api, plan["project"], plan["resources"])
        return str(plan["project"]), dict(plan)

    def read(self, api: Api, identity: str, properties: Properties | None) -> Properties | None:
        """Of those it put there, which still are; all of them for an import."""
        if self.document(api, identity, f"reading the project {identity}") is None:
            return None
        there = _resources(api, identity)
        ours = there if properties is None else [urn for urn in properties["resources"] if urn in there]
        return {"project": identity, "resources": ours}

    def settle(self, api: Api, identity: str, properties: Properties, seconds: float) -> Properties:
        return self.read(api, identity, properties) or properties

    def delete(self, api: Api, identity: str, properties: Properties, seconds: float) -> None:
        if self.document(api, identity, f"reading the project {identity}"):
            release(api, identity, set(properties.get("resources") or []))


PROJECT_RESOURCES = _ProjectResources(
    token="digitalocean:index/projectResources:ProjectResources",  # noqa: S106
    noun="place of resources in a project",
    path=PATH,
    envelope="project",
    fields={
        "project": text(required=True, replace=True, check=not_empty),
        "resources": unordered(text(check=not_empty), required=True),
    },
    update=_move,
)
