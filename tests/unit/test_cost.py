"""What a stack costs: prices by size, list prices, and what nobody tells."""

from __future__ import annotations

from seawall.cost import Cost, items

SIZES = {"s-1vcpu-1gb": 6.0, "s-2vcpu-4gb": 24.0, "s-priceless": None}


def of(kind: str, **inputs: object) -> dict:
    return {"type": f"digitalocean:index/{kind[0].lower()}{kind[1:]}:{kind}", "inputs": inputs}


def cost(*held: dict) -> Cost:
    return Cost("prod", list(items(held, SIZES)))


def test_droplets_backups_and_the_load_balancers_nodes_add_up():
    found = cost(
        *[of("Droplet", size="s-1vcpu-1gb")] * 2,
        of("Droplet", size="s-2vcpu-4gb", backups=True),
        of("Droplet", size="s-2vcpu-4gb", backups=True, backupPolicy={"plan": "daily"}),
        of("LoadBalancer", sizeUnit=2),
        of("Firewall"),
        of("Vpc"),
    )
    assert [(item.what, item.count, item.month) for item in found.items] == [
        ("droplet s-1vcpu-1gb", 2, 12.0),
        ("droplet s-2vcpu-4gb", 2, 48.0),
        ("daily backups of s-2vcpu-4gb", 1, 7.2),
        ("weekly backups of s-2vcpu-4gb", 1, 4.8),
        ("LoadBalancer", 2, 24.0),
    ]
    assert found.month == 96.0
    assert found.unknown == []
    assert "in all" in found.text()


def test_spaces_is_one_subscription_however_many_buckets():
    assert cost(of("SpacesBucket"), of("SpacesBucket")).month == 5.0


def test_what_nobody_prices_is_unknown_and_the_sum_a_least_one():
    found = cost(
        of("Droplet", size="s-unheard-of"),
        of("Droplet", size="s-priceless", backups=True),
        of("DatabaseCluster"),
        of("Droplet", size="s-1vcpu-1gb"),
    )
    assert found.unknown == [
        "droplet s-priceless",
        "droplet s-unheard-of",
        "weekly backups of s-priceless",
        "DatabaseCluster",
    ]
    assert found.month == 6.0
    assert "at least" in found.text()
    assert found.document()["unknown"] == found.unknown


def test_what_is_not_digitaloceans_or_is_being_deleted_costs_nothing():
    leaving = {**of("Droplet", size="s-1vcpu-1gb"), "delete": True}
    assert cost({"type": "seawall:index:HostKey", "inputs": {}}, leaving).items == []
