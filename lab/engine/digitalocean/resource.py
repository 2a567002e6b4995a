"""The table every resource type is written as, and what can be done with any of them."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from lab.engine.digitalocean.api import Api, Refusal, segment
from lab.engine.digitalocean.fields import Fields, kept, snake

Properties = dict[str, Any]
Answer = Mapping[str, Any]

MINUTE = 60.0
LOOKS = 3
CLOCKS_APART = 2 * MINUTE


def never(_: Refusal) -> bool:
    return False


@dataclass(frozen=True)
class Resource:
    """A resource type.

    path: the collection; what it is within stands in braces, by property (``/v2/domains/{domain}/records``).
    envelope: the key its document is under. fields: see ``fields.Field``.
    request: the body of a create, and of a full update, from the plan. answer: properties from a document.
    settled: what a fresh or changed document has to fulfil; None: nothing.
    update: how it is changed in place; None: a PUT of the whole request.
    find: the document of an id, where it is not at path/id. key: where its id stands in a document.
    busy: refusals of an update or a delete that pass by themselves (members leaving, earlier actions running).
    before_delete, gone: what to do first, and whether to wait until it is no longer there.
    derived: properties that follow from the others. adopt: properties only an import reads.
    deadlines: seconds for create, update, delete; the official ones if absent.
    listed, same: the key of the list in which one whose creation was not answered is looked for, and the properties
    by which it is known again; without ``listed`` it is not looked for.
    schema_version, official_timeouts (seconds): what the official provider notes in the state beside the properties.
    """

    token: str
    noun: str
    path: str
    envelope: str
    fields: Fields
    request: Callable[[Api, Properties], Properties] | None = None
    answer: Callable[[Api, Answer], Properties] | None = None
    settled: Callable[[Answer], bool] | None = None
    update: Callable[[Api, str, Properties, Properties], None] | None = None
    find: Callable[[Api, str], Answer | None] | None = None
    key: str = "id"
    busy: Callable[[Refusal], bool] = never
    before_delete: Callable[[Api, str, Properties], None] | None = None
    gone: bool = False
    derived: Callable[[Properties], Properties] = lambda _: {}
    adopt: Callable[[Answer], Properties] = lambda _: {}
    deadlines: Mapping[str, float] = field(default_factory=dict)
    same: tuple[str, ...] = ("name",)
    listed: str = ""
    schema_version: int = 0
    official_timeouts: Mapping[str, float] = field(default_factory=dict)

    def deadline(self, operation: str, asked: float) -> float:
        """Seconds an operation may take: as the program's ``custom_timeouts`` ask, else the table's."""
        known = self.deadlines.get(operation) or self.official_timeouts.get(operation)
        return asked or known or 10 * MINUTE

    def called(self, properties: Mapping[str, Any]) -> str:
        """The resource in a sentence: ``the droplet app-1``."""
        return f"the {self.noun} {properties.get('name') or ''}".rstrip()

    def create(self, api: Api, plan: Properties) -> tuple[str, Properties]:
        """Have it made. Returns its id and what is known of it at once; ``settle`` waits for the rest."""
        where, doing, began = self.collection(plan), f"creating {self.called(plan)}", time.time()
        try:
            document = api.call("POST", where, doing, self._body(api, plan))[self.envelope]
        except Refusal as refused:
            # No answer, or a broken one: it may be there all the same, and a second POST would make a second one.
            if 0 < refused.status < 500 or (found := self.lost(api, plan, began, doing)) is None:
                raise
            document = found
        return str(document[self.key]), kept(self.fields, plan)

    def lost(self, api: Api, plan: Properties, began: float, doing: str) -> Answer | None:
        """What a request made whose answer never came: of this name and these tags, made since ``began`` (by the clock
        here, two minutes' difference granted) where the API tells when. Looked for a few times: it may come late."""
        if not self.listed:
            return None
        where, since = self.collection(plan), datetime.fromtimestamp(began - CLOCKS_APART, UTC)

        def is_it(item: Answer) -> bool:
            same = all(self._alike(key, item, plan) for key in self.same)
            made = item.get("created_at")
            return (
                same
                and set(plan.get("tags") or ()) <= set(item.get("tags") or ())
                and (not made or datetime.fromisoformat(made.replace("Z", "+00:00")) >= since)
            )

        for number in range(LOOKS):
            if number:
                api.pause(1.0, doing)
            candidates = [each for each in api.pages(where, self.listed, doing) if is_it(each)]
            if len(candidates) == 1:
                return candidates[0]
            if candidates:
                raise Refusal(
                    f"The answer to {doing} was lost, and {len(candidates)} that fit are there now (ids "
                    f"{', '.join(str(each[self.key]) for each in candidates)}). Delete those that are not wanted, then "
                    "run `pulumi up` again."
                )
        return None

    def _alike(self, key: str, item: Answer, plan: Properties) -> bool:
        known = self.fields[key]
        alike = known.same or str
        return alike(str(item.get(known.api or snake(key)))) == alike(str(plan.get(key)))

    def settle(self, api: Api, identity: str, properties: Properties, seconds: float) -> Properties:
        """Wait until the cloud is done with it, and return its properties then."""
        doing = f"waiting for {self.called(properties)} to be ready"

        def look() -> Properties | None:
            document = self.document(api, identity, doing, properties)
            if document is None or (self.settled and not self.settled(document)):
                return None
            return self._whole(api, properties, document)

        return api.wait(look, seconds, doing)

    def read(self, api: Api, identity: str, properties: Properties | None) -> Properties | None:
        """Its properties now, None if it is gone. ``properties`` are those in the state, None for an import."""
        doing = f"reading {self.called(properties or {'name': identity})}"
        document = self.document(api, identity, doing, properties or {})
        if document is None:
            return None
        before = self.adopt(document) if properties is None else properties
        known = {key: value for key, value in before.items() if key in self.fields}
        return self._whole(api, known, document)

    def change(
        self, api: Api, identity: str, state: Properties, plan: Properties, seconds: float
    ) -> Properties:
        """Change it in place and wait until that is done."""
        doing = f"updating {self.called(plan)}"

        def act() -> None:
            if self.update:
                self.update(api, identity, state, plan)
            else:
                api.call("PUT", f"{self.collection(plan)}/{segment(identity)}", doing, self._body(api, plan))

        api.insist(act, self.busy, seconds)
        told = {
            key: value for key, value in state.items() if key in self.fields and not self.fields[key].input
        }
        return self.settle(api, identity, told | kept(self.fields, plan), seconds)

    def delete(self, api: Api, identity: str, properties: Properties, seconds: float) -> None:
        """Have it removed; one that is not there any more is as good as removed."""
        doing = f"deleting {self.called(properties)}"
        if self.find or self.before_delete:
            document = self.document(api, identity, doing, properties)
            if document is None:
                return
            identity = str(document.get("id") or identity)
            if self.before_delete:
                self.before_delete(api, identity, properties)
        where = f"{self.collection(properties)}/{segment(identity)}"

        def act() -> None:
            try:
                api.call("DELETE", where, doing)
            except Refusal as refused:
                if refused.status != 404:
                    raise

        api.insist(act, self.busy, seconds)
        if self.gone:
            api.wait(lambda: True if api.get(where, doing) is None else None, seconds, doing)

    def collection(self, properties: Mapping[str, Any]) -> str:
        """The collection's path for this resource."""

        def within(found: re.Match[str]) -> str:
            if not (value := properties.get(found[1])):
                raise Refusal(
                    f"{self.called(properties).capitalize()} is part of something else, and its id alone does not say "
                    "of what: it can't be imported here. The official provider can."
                )
            return segment(value)

        return re.sub(r"{(\w+)}", within, self.path)

    def document(
        self, api: Api, identity: str, doing: str, properties: Mapping[str, Any] | None = None
    ) -> Answer | None:
        """DigitalOcean's own description, None where there is none."""
        if self.find:
            return self.find(api, identity)
        found = api.get(f"{self.collection(properties or {})}/{segment(identity)}", doing)
        return None if found is None else found[self.envelope]

    def _body(self, api: Api, plan: Properties) -> Properties:
        return self.request(api, plan) if self.request else sent(self.fields, plan)

    def _whole(self, api: Api, known: Properties, document: Answer) -> Properties:
        found = {**known, **self._told(api, document)}
        return {**found, **self.derived(found)}

    def _told(self, api: Api, document: Answer) -> Properties:
        return self.answer(api, document) if self.answer else received(self.fields, document)


def without(fields: Fields, *names: str) -> Fields:
    """The table but for what a resource sends or reads in a way of its own."""
    return {key: known for key, known in fields.items() if key not in names}


def sent(fields: Fields, plan: Mapping[str, Any]) -> Properties:
    """A request's body by the table: each given input under DigitalOcean's name for it."""
    return {
        where: plan[key]
        for key, known in fields.items()
        if known.input
        and plan.get(key) is not None
        and (where := snake(key) if known.api is None else known.api)
    }


def received(fields: Fields, document: Answer) -> Properties:
    """Properties by the table: each that the document has, nested ones too."""
    found = {}
    for key, known in fields.items():
        where = snake(key) if known.api is None else known.api
        if where and document.get(where) is not None:
            value = document[where]
            found[key] = value.lower() if known.type == "string" and known.stored is str.lower else value
    return found
