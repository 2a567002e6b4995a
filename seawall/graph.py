"""`seawall graph`: the network as declared, and beside it as the account has it. Reads only.

As declared, every opening is a flow. As it is, every opening is a rule of a firewall that covers a droplet, or an entry
of a load balancer: what a flow asks for and no rule allows is *missing*, what a rule allows and no flow asks for is a
*stranger*. Both are worked out from the same atoms (``infra.flows``) that the rules themselves are made of.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jinja2

from infra.flows import WORLD, CloudRule, Flow, Flows, Port
from infra.stack import Stack
from seawall import drawing
from seawall.drawing import ALL, DOOR, Arrow, Picture, Place, State
from seawall.drift.account import Account, Object, read
from seawall.drift.normal import network as one_spelling
from seawall.places import write_private
from seawall.problem import DECLARED, DEVIATES, UNABLE, USAGE, Problem
from seawall.session import Session

PROJECT = "seawall"
TEMPLATES = Path(__file__).parent / "templates"
NEEDED = ("droplet", "firewall", "load-balancer", "vpc")
"""What has to be listed for the picture to be true."""


class Atom(NamedTuple):
    """What one rule allows one droplet. ``peer``: a range, ``tier:…``, ``loadbalancer``, ``tag:…``, ``droplet:…``."""

    direction: Literal["in", "out"]
    port: Port
    peer: str

    def covers(self, other: Atom) -> bool:
        everybody = self.peer == f"tier:{ALL}" and other.peer.startswith("tier:")
        return (
            (self.direction, self.port.protocol) == (other.direction, other.port.protocol)
            and (self.peer == other.peer or everybody)
            and self.port.first <= other.port.first
            and self.port.last >= other.port.last
        )


@dataclass(frozen=True)
class Opening:
    """One row of the table, one arrow of the picture."""

    source: str
    target: str
    ports: tuple[str, ...]
    reason: str
    owner: str = ""
    review_by: str = ""
    state: State = "declared"


@dataclass(frozen=True)
class Row:
    """Something with a name and a few sentences: a firewall and its rules, a load balancer and its entries, a VPC."""

    name: str
    about: str
    said: tuple[str, ...] = ()
    state: State = "declared"


@dataclass(frozen=True)
class Network:
    """What is drawn, and the tables that go with it."""

    stack: str
    at: datetime
    live: bool
    picture: Picture
    openings: list[Opening]
    firewalls: list[Row]
    balancers: list[Row]
    vpcs: list[Row]
    notes: list[str] = field(default_factory=list)

    @property
    def code(self) -> int:
        rows: Iterable[Any] = [*self.openings, *self.firewalls, *self.balancers, *self.picture.tiers]
        return DEVIATES if any(row.state != "declared" for row in rows) else DECLARED

    def document(self) -> dict[str, Any]:
        rows = {
            name: [vars(row) for row in getattr(self, name)]
            for name in ("openings", "firewalls", "balancers", "vpcs")
        }
        tiers = [vars(place) for place in self.picture.tiers]
        return {
            "stack": self.stack, "at": self.at.isoformat(timespec="seconds"), "live": self.live, "tiers": tiers,
            **rows, "notes": self.notes,
        }  # fmt: skip

    def text(self) -> str:
        mark = {"declared": " ", "missing": "-", "stranger": "+"}
        lines = [self.title, ""]
        for number, each in enumerate(self.openings, 1):
            who = f"{each.source} → {each.target}"
            lines.append(
                f"{mark[each.state]} {number:>2}  {who:<32} {', '.join(each.ports):<20} {each.reason}"
            )
        others = [(place.title, place.lines, place.state) for place in self.picture.tiers]
        others += [
            (row.name, (row.about, *row.said), row.state) for row in (*self.firewalls, *self.balancers)
        ]
        lines += [
            f"{mark[state]}     {name}: {'; '.join(said)}"
            for name, said, state in others
            if state != "declared"
        ]
        if self.live:
            lines += ["", "- declared and not open; + open and not declared."]
        return "\n".join([*lines, *self.notes])

    @property
    def title(self) -> str:
        return f"The network of {self.stack}, {'as it is' if self.live else 'as declared'}"

    def html(self) -> str:
        """One page that asks no network for anything, with a wide picture and tables that fold on a small screen."""
        environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(TEMPLATES),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        return environment.get_template("graph.html.j2").render(
            network=self, drawing=drawing.draw(self.picture)
        )

    def svg(self) -> str:
        """The picture alone, with colours of its own for day and night."""
        picture = drawing.draw(self.picture)
        begin = picture.index(">") + 1
        return picture[:begin] + STYLE + picture[begin:]


STYLE = """<style>
svg{color:#1c2430;background:#fff;font-family:system-ui,"DejaVu Sans",sans-serif}
.halo{stroke:#fff}.bead,.ground{fill:#fff}
@media(prefers-color-scheme:dark){svg{color:#e6eaf0;background:#14181e}.halo{stroke:#14181e}.bead,.ground{fill:#14181e}
.stranger{color:#f0877e}.missing{color:#e2b25c}}
</style>"""


def graph(session: Session, *, live: bool) -> Network:
    """The network of a stack that stands."""
    outputs = session.standing()
    if not live:
        return as_declared(outputs)
    with session.progress.phase("account") as phase:
        phase.now("reading")
        account = read(session.environment, ())
        phase.done(", ".join(f"{len(account.of(kind))} {kind}s" for kind in NEEDED))
    for kind in NEEDED:
        if why := account.unasked.get(kind):
            raise Problem(f"The network can't be drawn as it is: {why}", code=UNABLE)
    return as_it_is(outputs, account)


def write(network: Network, path: Path) -> None:
    """The picture as SVG or as a page, by the file's name. Nothing in it is secret, and all of it is about defences."""
    if path.suffix not in (".svg", ".html"):
        raise Problem(f"{path} is neither .svg nor .html. Name the file by what it shall be.", code=USAGE)
    write_private(path.absolute(), (network.svg() if path.suffix == ".svg" else network.html()).encode())


# As declared


def as_declared(outputs: Mapping[str, Any], at: datetime | None = None) -> Network:
    stack, flows = Stack(PROJECT, outputs["stack"]), flows_of(outputs)
    rules = {tier: [_sentence(rule) for rule in flows.cloud_rules(tier)] for tier in flows.tiers}
    picture = drawing.declared(outputs)
    door = Row(stack.name, str(outputs.get("loadbalancer_ip") or ""), tuple(
        f"{', '.join(map(str, flow.ports))} from {flow.from_}: {flow.reason}"
        for flow in flows.declared if flow.to == DOOR
    ))  # fmt: skip
    return Network(
        stack=outputs["stack"],
        at=at or datetime.now(UTC),
        live=False,
        picture=picture,
        openings=[_opening(flow) for flow in flows.declared],
        firewalls=[Row(stack.tag(tier), f"covers tier {tier}", tuple(said)) for tier, said in rules.items()],
        balancers=[door] if picture.doors else [],
        vpcs=[Row(stack.name, flows.vpc_range, (f"{len(outputs.get('droplets') or {})} droplets",))],
    )


def flows_of(outputs: Mapping[str, Any]) -> Flows:
    return Flows(
        tuple(Flow.model_validate(flow) for flow in outputs.get("flows") or []),
        tuple(outputs.get("tiers") or {}),
        tuple(outputs.get("trusted_ranges") or ()),
        str(outputs.get("vpc_range") or ""),
    )


def _opening(flow: Flow) -> Opening:
    by = flow.review_by.isoformat() if flow.review_by else ""
    return Opening(flow.from_, flow.to, tuple(map(str, flow.ports)), flow.reason, flow.owner, by)


def _sentence(rule: CloudRule) -> str:
    peers = [*rule.addresses, *rule.tiers, *(["the load balancer"] if rule.load_balancer else [])]
    word = "from" if rule.direction == "in" else "to"
    return f"{rule.direction} {rule.port} {word} {', '.join(peers)}: {'; '.join(rule.reasons)}"


# As it is


def as_it_is(outputs: Mapping[str, Any], account: Account, at: datetime | None = None) -> Network:
    """What the account holds, beside what ``outputs`` declare."""
    return _Live(outputs, account).network(at or datetime.now(UTC))


class _Live:
    """The account with this stack's names for what is in it."""

    def __init__(self, outputs: Mapping[str, Any], account: Account) -> None:
        self.outputs, self.account, self.flows = outputs, account, flows_of(outputs)
        self.stack = Stack(PROJECT, outputs["stack"])
        declared = {str(held["id"]): held["tier"] for held in (outputs.get("droplets") or {}).values()}
        self.droplets = {str(each["id"]): each for each in account.of("droplet")}
        self.tier_of = {number: tier for number, tier in declared.items() if number in self.droplets}
        self.tags = {self.stack.tag(tier).lower(): tier for tier in (ALL, *self.flows.tiers)}
        self.vpcs = [
            each for each in account.of("vpc")
            if each["id"] in {self.droplets[number].get("vpc_uuid") for number in self.tier_of}
            or each["name"] == self.stack.name
        ]  # fmt: skip
        ours = {each["id"] for each in self.vpcs}
        self.strangers = [
            each
            for number, each in self.droplets.items()
            if each.get("vpc_uuid") in ours and number not in declared
        ]
        self.balancers = [each for each in account.of("load-balancer") if self._serves(each)]

    def network(self, at: datetime) -> Network:
        openings, extra = self._openings()
        rows = [*openings, *extra]
        base = drawing.declared(self.outputs)
        tiers = [self._tier(place) for place in base.tiers] + [
            self._stranger(each) for each in self.strangers
        ]
        inside = {place.key for place in tiers} | {ALL, DOOR}
        arrows = [
            Arrow(row.source, row.target if row.target in inside else f"to:{row.target}", number, row.state)
            for number, row in enumerate(rows, 1)
        ]
        doors = [self._door(each) for each in self.balancers]
        others = [each for each in self.account.of("vpc") if each not in self.vpcs and self._members(each)]
        picture = replace(
            base,
            label="Network as it is",
            vpc=", ".join(f"VPC {each['name']} {each['ip_range']}" for each in self.vpcs) or "no VPC",
            before=_with(base.before, {a.source for a in arrows if a.source not in inside}, "stranger"),
            after=_with(base.after, {a.target for a in arrows if a.target.startswith("to:")}, "stranger"),
            doors=doors or [replace(place, lines=("not there",), state="missing") for place in base.doors],
            tiers=tiers,
            arrows=arrows,
            beside=[
                Place(each["id"], f"VPC {each['name']}", (each["ip_range"], *drawing.few(self._members(each), 4)))
                for each in others
            ],
        )  # fmt: skip
        return Network(
            self.outputs["stack"], at, True, picture, rows, self._firewalls(),
            [self._balancer_row(each) for each in self.balancers],
            [
                Row(each["name"], each["ip_range"], tuple(self._members(each)) or ("no droplets",))
                for each in (*self.vpcs, *others)
            ],
            self._notes(),
        )  # fmt: skip

    # Openings

    def _openings(self) -> tuple[list[Opening], list[Opening]]:
        """The declared ones with their state; then those that no flow declares, by droplet or tier."""
        live = {number: frozenset(self._atoms(number)) for number in self.tier_of}
        wanted = {tier: list(_atoms_of(self.flows.cloud_rules(tier))) for tier in self.flows.tiers}
        declared = []
        for flow in self.flows.declared:
            fine = self._door_stands(flow) and all(
                any(atom.covers(need) for atom in live[number])
                for tier in self.flows.tiers
                for need in _atoms_of(replace(self.flows, declared=(flow,)).cloud_rules(tier))
                for number, held in self.tier_of.items()
                if held == tier
            )
            declared.append(replace(_opening(flow), state="declared" if fine else "missing"))
        extra: dict[tuple[str, str], dict[str, None]] = {}
        for number, atoms in live.items():
            tier = self.tier_of[number]
            for atom in sorted(atoms):
                if not any(need.covers(atom) for need in wanted[tier]):
                    peer = self._peer(atom)
                    ends = (peer, tier) if atom.direction == "in" else (tier, peer)
                    extra.setdefault(ends, {})[str(atom.port)] = None
        for stranger in self.strangers:
            for atom in sorted(set(self._atoms(str(stranger["id"])))):
                ends = (
                    (self._peer(atom), stranger["name"])
                    if atom.direction == "in"
                    else (stranger["name"], self._peer(atom))
                )
                extra.setdefault(ends, {})[str(atom.port)] = None
        for balancer in self.balancers:
            for rule in balancer.get("forwarding_rules") or []:
                port = Port("tcp", int(rule["entry_port"]), int(rule["entry_port"]))
                if not any(port in flow.ports for flow in self.flows.declared if flow.to == DOOR):
                    extra.setdefault(("internet", DOOR), {})[str(port)] = None
        return declared, [
            Opening(source, target, tuple(ports), "No flow declares this.", state="stranger")
            for (source, target), ports in sorted(extra.items())
        ]

    def _door_stands(self, flow: Flow) -> bool:
        if flow.to == DOOR:
            entries = {
                int(rule["entry_port"])
                for each in self.balancers
                for rule in each.get("forwarding_rules") or []
            }
            return all(set(range(port.first, port.last + 1)) <= entries for port in flow.ports)
        if flow.from_ == DOOR:
            behind = {
                self.tier_of.get(str(number))
                for each in self.balancers
                for number in each.get("droplet_ids") or []
            }
            return flow.to in behind
        return True

    def _atoms(self, number: str) -> Iterator[Atom]:
        """What the firewalls that cover a droplet allow it. A rule that denies is told as a note, not drawn."""
        for wall in self._covering(number):
            for direction, key, side in (
                ("in", "inbound_rules", "sources"),
                ("out", "outbound_rules", "destinations"),
            ):
                for rule in wall.get(key) or []:
                    if rule.get("action", "allow") != "deny":
                        for peer in self._peers(rule.get(side) or {}):
                            yield Atom(direction, _port(rule), peer)  # type: ignore[arg-type]

    def _covering(self, number: str) -> list[Object]:
        tags = _lower(self.droplets[number].get("tags"))
        return [
            wall
            for wall in self.account.of("firewall")
            if number in map(str, wall.get("droplet_ids") or []) or tags & _lower(wall.get("tags"))
        ]

    def _peers(self, end: Mapping[str, Any]) -> Iterator[str]:
        yield from (one_spelling(str(each)) for each in end.get("addresses") or [])
        for tag in end.get("tags") or []:
            tier = self.tags.get(str(tag).lower())
            yield f"tier:{tier}" if tier else f"tag:{tag}"
        for number in map(str, end.get("droplet_ids") or []):
            yield f"droplet:{self.droplets.get(number, {}).get('name', number)}"
        ours = {each["id"] for each in self.balancers}
        for uid in end.get("load_balancer_uids") or []:
            yield DOOR if uid in ours else f"load balancer {uid}"

    def _peer(self, atom: Atom) -> str:
        """A place on the picture for the other end of an opening that nobody declared."""
        kind, _, name = atom.peer.partition(":")
        if kind == "tier":
            return name
        if atom.peer in WORLD:
            return "internet"
        if atom.direction == "in" and atom.peer in self.outputs.get("trusted_ranges", ()):
            return "administrators"
        return name if kind in ("tag", "droplet") and not _is_range(atom.peer) else atom.peer

    # Places and rows

    def _tier(self, place: Place) -> Place:
        """A tier's droplets as they are: their firewalls, those that are gone, those that none covers."""
        declared = {
            name: held for name, held in self.outputs["droplets"].items() if held["tier"] == place.key
        }
        lines: list[str] = []
        state = place.state
        for name, held in sorted(declared.items()):
            number = str(held["id"])
            if number not in self.droplets:
                lines, state = [*lines, f"{name}  gone"], "missing"
            elif not self._covering(number):
                lines, state = [*lines, f"{name}  no firewall covers it"], "stranger"
            else:
                lines.append(f"{name}  {held['private_ip']}")
        return replace(place, lines=drawing.few(lines, 6), state=state)

    def _stranger(self, droplet: Object) -> Place:
        walls = [wall["name"] for wall in self._covering(str(droplet["id"]))]
        return Place(
            droplet["name"], droplet["name"],
            ("not of this stack", f"firewall {', '.join(walls)}" if walls else "no firewall covers it"), "stranger",
        )  # fmt: skip

    def _serves(self, balancer: Object) -> bool:
        ours = {each["id"] for each in self.vpcs}
        return balancer["name"] == self.stack.name or balancer.get("vpc_uuid") in ours

    def _door(self, balancer: Object) -> Place:
        mine = balancer["name"] == self.stack.name
        lines = (
            str(balancer.get("ip") or "no address yet"),
            f"to {', '.join(drawing.few(self._behind(balancer), 3)) or 'nobody'}",
            *(f"not to {name}" for name in drawing.few(self._waiting(balancer), 3)),
        )
        return Place(DOOR if mine else balancer["id"], balancer["name"], lines, self._door_state(balancer))

    def _behind(self, balancer: Object) -> list[str]:
        numbers = map(str, balancer.get("droplet_ids") or [])
        return [self.droplets.get(number, {}).get("name", number) for number in numbers]

    def _waiting(self, balancer: Object) -> list[str]:
        """The droplets that belong behind the stack's own load balancer and are not."""
        if balancer["name"] != self.stack.name:
            return []
        tiers, behind = self.flows.balanced(), self._behind(balancer)
        return [
            name
            for name, held in sorted(self.outputs["droplets"].items())
            if held["tier"] in tiers and name not in behind
        ]

    def _door_state(self, balancer: Object) -> State:
        if balancer["name"] != self.stack.name:
            return "stranger"
        return "missing" if self._waiting(balancer) else "declared"

    def _balancer_row(self, balancer: Object) -> Row:
        said = [
            "{entry_protocol} {entry_port} to {target_protocol} {target_port}".format_map(rule)
            for rule in balancer.get("forwarding_rules") or []
        ]
        said += [f"sends to {', '.join(self._behind(balancer)) or 'nobody'}"]
        said += [f"does not send to {', '.join(names)}" for names in [self._waiting(balancer)] if names]
        said += [f"TLS policy {balancer.get('tls_cipher_policy') or 'DEFAULT'}"]
        if allowed := (balancer.get("firewall") or {}).get("allow"):
            said.append(f"allows only {', '.join(allowed)}")
        if balancer.get("redirect_http_to_https"):
            said.append("sends HTTP to HTTPS")
        about = f"{balancer.get('ip') or 'no address yet'}, {balancer.get('status')}"
        return Row(balancer["name"], about, tuple(said), self._door_state(balancer))

    def _firewalls(self) -> list[Row]:
        """Every firewall that covers one of the stack's droplets or a stranger among them."""
        found: dict[str, tuple[Object, list[str]]] = {}
        for number in [*self.tier_of, *(str(each["id"]) for each in self.strangers)]:
            for wall in self._covering(number):
                found.setdefault(str(wall["id"]), (wall, []))[1].append(self.droplets[number]["name"])
        rows = []
        for wall, covered in sorted(found.values(), key=lambda pair: pair[0]["name"]):
            said = [
                f"{direction} {_port(rule)} {word} {', '.join(self._named(rule.get(side) or {}))}"
                + (f" ({rule['action']})" if rule.get("action", "allow") != "allow" else "")
                for direction, key, side, word in (
                    ("in", "inbound_rules", "sources", "from"), ("out", "outbound_rules", "destinations", "to"),
                )
                for rule in wall.get(key) or []
            ]  # fmt: skip
            mine = str(wall["name"]).startswith(f"{self.stack.name}-")
            rows.append(
                Row(
                    wall["name"],
                    f"covers {', '.join(sorted(covered))}",
                    tuple(said),
                    "declared" if mine else "stranger",
                )
            )
        return rows

    def _named(self, end: Mapping[str, Any]) -> list[str]:
        return [
            peer.removeprefix("tier:").replace(DOOR, "the load balancer") for peer in self._peers(end)
        ] or ["nobody"]

    def _members(self, vpc: Object) -> list[str]:
        return sorted(
            each["name"] for each in self.account.of("droplet") if each.get("vpc_uuid") == vpc["id"]
        )

    def _notes(self) -> list[str]:
        denying = [
            wall["name"] for wall in self.account.of("firewall")
            for key in ("inbound_rules", "outbound_rules")
            if any(rule.get("action") == "deny" for rule in wall.get(key) or [])
        ]  # fmt: skip
        return [
            f"Firewall {name} has rules that deny; what they take away is not taken off the picture."
            for name in dict.fromkeys(denying)
        ]


def _atoms_of(rules: Iterable[CloudRule]) -> Iterator[Atom]:
    for rule in rules:
        peers = [one_spelling(each) for each in rule.addresses] + [f"tier:{tier}" for tier in rule.tiers]
        for peer in [*peers, *([DOOR] if rule.load_balancer and rule.direction == "in" else [])]:
            yield Atom(rule.direction, rule.port, peer)


def _port(rule: Mapping[str, Any]) -> Port:
    """A rule's ports; ``0`` and ``all`` are every port."""
    protocol, text = str(rule["protocol"]).lower(), str(rule.get("ports") or "0").lower()
    if protocol == "icmp":
        return Port("icmp")
    first, _, last = ("1-65535" if text in ("0", "all") else text).partition("-")
    return Port(protocol, int(first), int(last or first))  # type: ignore[arg-type]


def _lower(tags: Iterable[Any] | None) -> set[str]:
    """Tags without their case, as the API compares them."""
    return {str(tag).lower() for tag in tags or ()}


def _is_range(text: str) -> bool:
    try:
        ipaddress.ip_network(text)
    except ValueError:
        return False
    return True


def _with(places: Iterable[Place], needed: Iterable[str], state: State) -> list[Place]:
    """The declared places, and one for each that only an undeclared opening needs."""
    places = list(places)
    known = {place.key for place in places}
    return places + [
        Place(key, drawing.NAMES.get(name := key.removeprefix("to:"), name), (), state)
        for key in dict.fromkeys(sorted(needed))
        if key not in known
    ]
