"""What the lab's network should be, decided from the world: links, routes and rule sets, as text. Pure.

    host ──┐                 ┌── region fra1 ──┬── droplet eth0, eth1
           ├── core (router) ┤                 └── load balancer eth0, eth1
    outside┘                 └── region ams3 ── …

Each box is a network namespace, each line a routed link: no bridge anywhere, so every packet between two
stations crosses the forward hook of its region's namespace and meets the firewalls there. Rules name links by
name, which nftables allows before a link exists: a droplet's firewall stands before its first packet.

Nothing leads further. The core has no route to the world and this machine's forwarding stays off; names and
packages are fetched by relays (relay.py) that listen in the core and ask from this machine's side.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network, collapse_addresses, ip_network

from lab.instance import Instance
from lab.world import Droplet, Firewall, LoadBalancer, Rule, World

ROUTER, MIRROR, ADMINISTRATOR, OUTSIDE = 1, 2, 3, 4
"""Hosts of the public range that are no droplets': the gateway, the package mirror, this machine as a client
from outside, and a second client (namespace ``outside``) that no firewall has reason to trust."""

METADATA = "169.254.169.254"
RESOLVERS = ("67.207.67.2", "67.207.67.3")
"""DigitalOcean's name servers, answered by the core."""

TRANSIT_CORE, TRANSIT_REGION = "169.254.1.1", "169.254.1.2"
"""The two ends of a link between core and region. They say who the next hop is and are never a packet's."""

EVERYWHERE = "0.0.0.0/0"


@dataclass(frozen=True)
class Link:
    """A station's interface (``name``) and the region's end of it (``port``)."""

    name: str
    port: str
    address: str
    network: str
    gateway: str
    mac: str
    is_default: bool

    def commands(self, namespace: str | None) -> list[str]:
        """``ip`` commands, in the region's namespace, that make the link to ``namespace``.

        None: to a machine with a kernel of its own, whose QEMU opens the port as a tap device.
        """
        peer = f"type veth peer name {self.name} address {self.mac} netns {namespace}"
        return [
            f"link add {self.port} {peer}" if namespace else f"tuntap add dev {self.port} mode tap vnet_hdr",
            f"link set {self.port} up",
            # Proxy ARP answers after a random delay by default; that is for stations that share a wire.
            f"ntable change name arp_cache dev {self.port} proxy_delay 0",
            f"address add {self.gateway}/32 dev {self.port}",
            f"route replace {self.address}/32 dev {self.port}",
        ]

    def configure(self) -> list[str]:
        """``ip`` commands, in the station's namespace, that give the interface its address."""
        prefix = IPv4Network(self.network).prefixlen
        lines = [f"address replace {self.address}/{prefix} dev {self.name}", f"link set {self.name} up"]
        return [*lines, f"route replace default via {self.gateway}"] if self.is_default else lines

    def settings(self) -> str:
        """The interface's configuration for systemd-networkd."""
        prefix = IPv4Network(self.network).prefixlen
        gateway = f"Gateway={self.gateway}\n" if self.is_default else ""
        return (
            f"[Match]\nName={self.name}\n\n"
            f"[Network]\nAddress={self.address}/{prefix}\n{gateway}"
            "LinkLocalAddressing=no\nIPv6AcceptRA=no\n"
        )


@dataclass(frozen=True)
class Station:
    """A droplet or load balancer, as the network sees it. No rules at all (None) means: everything passes."""

    name: str
    region: str
    vpc_id: str
    public: Link | None
    private: Link
    inbound: tuple[Rule, ...] | None
    outbound: tuple[Rule, ...] | None
    seen_as: str | None = None
    """The NAT gateway's address, for a station without one of its own."""
    reserved: str | None = None
    """A second public address, which leads to the same station."""

    @property
    def links(self) -> tuple[Link, ...]:
        return (self.public, self.private) if self.public else (self.private,)

    @property
    def public_addresses(self) -> tuple[str, ...]:
        """What the core has to lead into the station's region, and to believe from it."""
        own = self.public.address if self.public else None
        return tuple(address for address in (own, self.seen_as, self.reserved) if address)


def regions(world: World) -> set[str]:
    return {
        each.region for part in (world.vpcs, world.droplets, world.load_balancers) for each in part.values()
    }


def links_of(instance: Instance, world: World, it: Droplet | LoadBalancer) -> tuple[Link, ...]:
    """The links of a droplet or load balancer: eth0 public, if it has an address there, and eth1 into its VPC."""
    if isinstance(it, Droplet):
        number, ports, kind = it.id.to_bytes(8, "big")[-4:], (f"p{it.id}", f"v{it.id}"), 0x02
    else:
        number, ports, kind = bytes.fromhex(it.id[:8]), (f"bp{it.id[:8]}", f"bv{it.id[:8]}"), 0x06
    vpc = IPv4Network(world.vpcs[it.vpc_id].ip_range)
    mac = [f"{kind:02x}:{side:02x}:{number.hex(':')}" for side in (0, 1)]  # locally administered
    router, alone = instance.address(ROUTER), it.public_ipv4 is None
    private = Link("eth1", ports[1], it.private_ipv4, str(vpc), str(vpc[1]), mac[1], alone)
    if it.public_ipv4 is None:
        return (private,)
    return (Link("eth0", ports[0], it.public_ipv4, instance.public_range, router, mac[0], True), private)


def stations(instance: Instance, world: World) -> list[Station]:
    """All stations, each with the rules of every firewall it is in."""
    found = []
    ways_out = {each.vpc_id: each.public_ipv4 for each in world.nat_gateways.values()}
    for droplet in world.droplets.values():
        *first, private = links_of(instance, world, droplet)
        public = first[0] if first else None
        mine = [wall for wall in world.firewalls.values() if droplet.id in wall.droplet_ids]
        found.append(
            Station(
                str(droplet.id), droplet.region, droplet.vpc_id, public, private,
                _merged(mine, "inbound"), _merged(mine, "outbound"),
                None if public else ways_out.get(droplet.vpc_id), droplet.reserved_ipv4,
            )
        )  # fmt: skip
    for balancer in world.load_balancers.values():
        public, private = links_of(instance, world, balancer)
        entries = sorted({(port, port) for port in entry_ports(balancer)})
        inbound = (
            *(Rule("tcp", ports, (EVERYWHERE,)) for ports in entries),
            Rule("icmp", None, (instance.public_range,)),
        )
        found.append(
            Station(balancer.id[:8], balancer.region, balancer.vpc_id, public, private, inbound, None)
        )
    return found


def entry_ports(balancer: LoadBalancer) -> set[int]:
    """The TCP ports a load balancer listens on."""
    ports = {each.entry_port for each in balancer.forwarding if each.entry_protocol != "udp"}
    return ports | {80} if balancer.redirect_http_to_https else ports


def region_rules(region: str, everyone: Iterable[Station]) -> str:
    """The rule set of a region's namespace, as one nftables transaction that replaces the one before.

    Connections are tracked outside of tables, so established ones live on, as they do in the cloud.
    """
    here = [station for station in everyone if station.region == region]
    links = [link for station in here for link in station.links]
    filtered = [station for station in here if station.inbound is not None]
    limited = [station for station in here if station.outbound is not None]
    vpcs = sorted({station.vpc_id for station in here})
    alone = [station for station in here if station.public is None]
    led = [station for station in alone if station.seen_as]
    reserved = [station for station in here if station.public and station.reserved]
    lines = [
        "table inet seawall",
        "delete table inet seawall",
        "table inet seawall {",
        *_set("sources", "ifname . ipv4_addr", (f'"{link.port}" . {link.address}' for link in links)),
        *_set("public", "ifname", ['"core"', *(f'"{each.public.port}"' for each in here if each.public)]),
        *_set("alone", "ifname", (f'"{station.private.port}"' for station in alone)),
        *_set("led", "ifname", (f'"{station.private.port}"' for station in led)),
    ]
    for number, vpc in enumerate(vpcs):
        members = [station for station in here if station.vpc_id == vpc]
        lines += _set(f"vpc{number}", "ifname", (f'"{station.private.port}"' for station in members))
    for station in limited:
        lines += _chain(f"from_{station.name}", "daddr", station.outbound or ())
    for station in filtered:
        lines += _chain(f"to_{station.name}", "saddr", station.inbound or ())
    lines += [
        # Public interfaces reach public ones and the world; a VPC's reach that VPC's and nothing else.
        "chain segments {",
        "iifname @public oifname @public return",
        *(f"iifname @vpc{number} oifname @vpc{number} return" for number in range(len(vpcs))),
        # A NAT gateway leads out who has no public interface, and nobody in.
        'iifname @led oifname "core" return',
        "drop",
        "}",
        "chain from_led {",
        "type nat hook postrouting priority srcnat;",
        *(f'oifname "core" ip saddr {each.private.address} snat ip to {each.seen_as}' for each in led),
        "}",
        "chain to_reserved {",
        "type nat hook prerouting priority dstnat;",
        *(f"ip daddr {each.reserved} dnat ip to {each.public.address}" for each in reserved if each.public),
        "}",
        "chain leaving {",
        *_dispatch("iifname", "from", limited),
        "}",
        "chain arriving {",
        *_dispatch("oifname", "to", filtered),
        "}",
        "chain forward {",
        "type filter hook forward priority filter; policy drop;",
        "meta nfproto != ipv4 drop",
        # Anti-spoofing: a station sends, and is sent, what bears its own address on that very link.
        'iifname != "core" iifname . ip saddr != @sources drop',
        'oifname != "core" oifname . ip daddr != @sources drop',
        'iifname "core" oifname "core" drop',
        "ct state established,related accept",
        "ct state invalid drop",
        "jump segments",
        "jump leaving",
        "jump arriving",
        "accept",
        "}",
        "chain input {",
        "type filter hook input priority filter; policy drop;",
        'iifname "lo" accept',
        "meta nfproto != ipv4 drop",
        'iifname != "core" iifname . ip saddr != @sources drop',
        "ct state established,related accept",
        'iifname "core" drop',
        # As in the cloud, no firewall stands between a droplet and its metadata.
        f"iifname @public ip daddr {METADATA} tcp dport 80 accept",
        f"iifname @alone ip daddr {METADATA} tcp dport 80 accept",
        "jump leaving",
        "icmp type echo-request accept",
        "}",
        "}",
    ]
    return "\n".join(lines) + "\n"


def loss_rules(percent: int) -> str:
    """A bad line: each packet that crosses is lost with this probability, whatever the firewalls say of it."""
    if not 0 <= percent <= 100:
        raise ValueError(f"{percent} is no percentage")
    table = ["table inet loss", "delete table inet loss"]
    if percent:
        table += [
            "table inet loss {",
            "chain forward {",
            "type filter hook forward priority -10; policy accept;",
            f"numgen random mod 100 < {percent} drop",
            "}",
            "}",
        ]
    return "\n".join(table) + "\n"


def core_rules(instance: Instance, everyone: Iterable[Station]) -> str:
    """The rule set of the core: who may send from where, and what the core itself answers."""
    sources = [
        f'"host" . {instance.address(ADMINISTRATOR)}',
        f'"outside" . {instance.address(OUTSIDE)}',
        *(f'"{station.region}" . {address}' for station in everyone for address in station.public_addresses),
    ]
    names = ", ".join(RESOLVERS)
    lines = [
        "table inet seawall",
        "delete table inet seawall",
        "table inet seawall {",
        *_set("sources", "ifname . ipv4_addr", sources),
        "chain forward {",
        "type filter hook forward priority filter; policy drop;",
        "meta nfproto != ipv4 drop",
        "iifname . ip saddr != @sources drop",
        "ct state established,related accept",
        # This machine is a client of its droplets and serves them nothing, whatever else listens on it.
        f"ip daddr {instance.address(ADMINISTRATOR)} drop",
        f"ip daddr {instance.public_range} accept",
        "}",
        "chain input {",
        "type filter hook input priority filter; policy drop;",
        'iifname "lo" accept',
        "meta nfproto != ipv4 drop",
        "iifname . ip saddr != @sources drop",
        "ct state established,related accept",
        f"ip daddr {instance.address(MIRROR)} tcp dport 80 accept",
        f"ip daddr {{ {names} }} meta l4proto {{ tcp, udp }} th dport 53 accept",
        "icmp type echo-request accept",
        "}",
        "}",
    ]
    return "\n".join(lines) + "\n"


def core_routes(instance: Instance, everyone: Iterable[Station]) -> list[str]:
    """``ip`` commands that lead each station's public address into its region. What no one has is dropped."""
    return [
        f"route replace {address}/32 via {TRANSIT_REGION} dev {station.region} onlink"
        for station in everyone
        for address in station.public_addresses
    ]


def _merged(walls: list[Firewall], direction: str) -> tuple[Rule, ...] | None:
    return tuple(rule for wall in walls for rule in getattr(wall, direction)) if walls else None


def _set(name: str, kind: str, elements: Iterable[str]) -> list[str]:
    listed = ", ".join(dict.fromkeys(elements))
    return [f"set {name} {{", f"type {kind}", *([f"elements = {{ {listed} }}"] if listed else []), "}"]


def _dispatch(side: str, prefix: str, some: list[Station]) -> list[str]:
    jumps = [f'"{link.port}" : jump {prefix}_{station.name}' for station in some for link in station.links]
    return [f"{side} vmap {{ {', '.join(jumps)} }}"] if jumps else []


def _chain(name: str, end: str, rules: Iterable[Rule]) -> list[str]:
    """One station's rules in one direction: denials first, as they win across firewalls, then what is allowed."""
    ordered = sorted(rules, key=lambda rule: rule.action != "deny")
    verdicts = {"deny": "drop", "allow": "return"}
    body = [
        f"{match} {verdicts[rule.action]}" for rule in ordered if (match := _match(rule, end)) is not None
    ]
    return [f"chain {name} {{", *dict.fromkeys(body), "drop", "}"]


def _match(rule: Rule, end: str) -> str | None:
    """A rule's condition, or None if no IPv4 packet can meet it."""
    networks = [
        network
        for text in rule.addresses
        if isinstance(network := ip_network(text, strict=False), IPv4Network)
    ]
    if not networks:
        return None
    joined = list(collapse_addresses(networks))
    parts = [] if joined == [IPv4Network(EVERYWHERE)] else [f"ip {end} {{ {', '.join(map(str, joined))} }}"]
    if rule.protocol == "icmp":
        parts.append("meta l4proto icmp")
    elif rule.ports is None:
        parts.append(f"meta l4proto {rule.protocol}")
    else:
        first, last = rule.ports
        parts.append(f"{rule.protocol} dport {first}" + (f"-{last}" if last != first else ""))
    return " ".join(parts)
