"""Every operation the API serves, driven by DigitalOcean's own client; each answer held against the description."""

from __future__ import annotations

import hashlib

import pytest

from lab.api.app import reader_token

from .api_support import ANYWHERE, TOKEN, cloud, custom_certificate, served, ssh_key


@pytest.fixture
def lab(tmp_path):
    with cloud(tmp_path / "api.sqlite3") as lab:
        yield lab


def test_pydo_drives_every_operation(lab):
    c = lab.pydo
    assert c.account.get()["account"]["team"]["name"] == "record-only"
    assert len(c.regions.list()["regions"]) == 10
    assert any(size["slug"] == "s-1vcpu-1gb" for size in c.sizes.list()["sizes"])
    image = c.images.list(type="distribution")["images"][0]
    assert c.images.get(image["id"])["image"]["slug"] == c.images.get("debian-12-x64")["image"]["slug"]
    assert c.projects.get_default()["project"]["id"] == c.projects.list()["projects"][0]["id"]

    grants = [{"bucket": "kept", "permission": "readwrite"}]
    spaces = c.spaces_key.create(body={"name": "evidence", "grants": grants})["key"]
    assert spaces["secret_key"]
    told = c.spaces_key.get(spaces["access_key"])["key"]
    assert told == {name: value for name, value in spaces.items() if name != "secret_key"}, "told once"
    assert c.spaces_key.list()["keys"] == [told]
    read = [{"bucket": "kept", "permission": "read"}]
    assert (
        c.spaces_key.update(spaces["access_key"], body={"name": "e", "grants": read})["key"]["grants"] == read
    )
    assert c.spaces_key.patch(spaces["access_key"], body={"name": "e2"})["key"]["grants"] == read
    c.spaces_key.delete(spaces["access_key"])

    key = c.ssh_keys.create(body={"name": "ops", "public_key": ssh_key()})["ssh_key"]
    assert c.ssh_keys.get(key["fingerprint"])["ssh_key"] == c.ssh_keys.get(key["id"])["ssh_key"] == key
    assert c.ssh_keys.update(key["id"], body={"name": "ops-2"})["ssh_key"]["name"] == "ops-2"
    assert c.ssh_keys.list()["meta"]["total"] == 1

    vpc = c.vpcs.create(body={"name": "net", "region": "fra1", "ip_range": "10.20.0.0/20"})["vpc"]
    assert c.vpcs.update(vpc["id"], body={"name": "net-2", "description": "x"})["vpc"]["description"] == "x"
    assert c.vpcs.patch(vpc["id"], body={"name": "net"})["vpc"]["description"] == "x"
    assert c.vpcs.get(vpc["id"])["vpc"]["name"] == "net"
    assert c.vpcs.list()["meta"]["total"] == 1

    assert c.tags.create(body={"name": "stack"})["tag"]["resources"]["count"] == 0
    made = c.droplets.create(
        body={
            "names": ["app-1", "app-2"],
            "region": "fra1",
            "size": "s-1vcpu-1gb",
            "image": "debian-12-x64",
            "ssh_keys": [key["id"]],
            "vpc_uuid": vpc["id"],
            "tags": ["stack"],
            "monitoring": True,
        }
    )
    one, two = (droplet["id"] for droplet in made["droplets"])
    lab.settle()
    assert c.actions.get(made["links"]["actions"][0]["id"])["action"]["status"] == "completed"
    assert c.droplets.get(one)["droplet"]["status"] == "active"
    assert c.droplets.list(tag_name="stack")["meta"]["total"] == 2
    assert c.droplets.list(name="app-2")["droplets"][0]["id"] == two
    for listing in ("list_backups", "list_snapshots", "list_kernels", "list_neighbors", "list_firewalls"):
        assert c.droplets.__getattribute__(listing)(one)["meta"]["total"] == 0

    action = c.droplet_actions.post(one, body={"type": "reboot"})["action"]
    lab.settle()
    assert c.droplet_actions.get(one, action["id"])["action"]["status"] == "completed"
    assert c.droplet_actions.list(one)["meta"]["total"] == 2
    assert len(c.droplet_actions.post_by_tag(body={"type": "power_cycle"}, tag_name="stack")["actions"]) == 2
    lab.settle()
    assert c.actions.list()["meta"]["total"] == 5

    resource = {"resources": [{"resource_id": str(one), "resource_type": "droplet"}]}
    c.tags.create(body={"name": "extra"})
    c.tags.assign_resources("extra", body=resource)
    assert c.tags.get("extra")["tag"]["resources"]["last_tagged_uri"].endswith(f"/v2/droplets/{one}")
    c.tags.unassign_resources("extra", body=resource)
    assert c.tags.list()["meta"]["total"] == 2

    rule = {"protocol": "tcp", "ports": "22", "sources": ANYWHERE}
    out = {"protocol": "udp", "ports": "all", "destinations": {"tags": ["stack"]}}
    wall = c.firewalls.create(body={"name": "wall", "inbound_rules": [rule], "tags": ["stack"]})["firewall"]
    c.firewalls.assign_droplets(wall["id"], body={"droplet_ids": [one]})
    c.firewalls.delete_droplets(wall["id"], body={"droplet_ids": [one]})
    c.firewalls.add_tags(wall["id"], body={"tags": ["extra"]})
    c.firewalls.delete_tags(wall["id"], body={"tags": ["extra"]})
    c.firewalls.add_rules(wall["id"], body={"outbound_rules": [out]})
    c.firewalls.delete_rules(wall["id"], body={"outbound_rules": [out]})
    lab.settle()
    assert c.firewalls.get(wall["id"])["firewall"]["status"] == "succeeded"
    replaced = {"name": "wall-2", "outbound_rules": [out], "droplet_ids": [one]}
    assert c.firewalls.update(wall["id"], body=replaced)["firewall"]["inbound_rules"] == []
    assert c.firewalls.list()["meta"]["total"] == c.droplets.list_firewalls(one)["meta"]["total"] == 1

    certificate = c.certificates.create(body={"name": "site", **custom_certificate()})["certificate"]
    assert c.certificates.get(certificate["id"])["certificate"]["state"] == "verified"
    assert c.certificates.list(name="site")["meta"]["total"] == 1

    forwarding = {
        "entry_protocol": "https",
        "entry_port": 443,
        "target_protocol": "https",
        "target_port": 443,
        "certificate_id": certificate["id"],
    }
    plain = {"entry_protocol": "http", "entry_port": 80, "target_protocol": "http", "target_port": 80}
    wanted = {"name": "edge", "region": "fra1", "vpc_uuid": vpc["id"], "forwarding_rules": [forwarding]}
    balancer = c.load_balancers.create(body=wanted | {"droplet_ids": [one]})["load_balancer"]
    lab.settle()
    c.load_balancers.add_droplets(balancer["id"], body={"droplet_ids": [two]})
    lab.settle()
    c.load_balancers.remove_droplets(balancer["id"], body={"droplet_ids": [one]})
    lab.settle()
    c.load_balancers.add_forwarding_rules(balancer["id"], body={"forwarding_rules": [plain]})
    lab.settle()
    c.load_balancers.remove_forwarding_rules(balancer["id"], body={"forwarding_rules": [plain]})
    lab.settle()
    now = c.load_balancers.get(balancer["id"])["load_balancer"]
    assert (now["status"], now["droplet_ids"], len(now["forwarding_rules"])) == ("active", [two], 1)
    strong = wanted | {"tls_cipher_policy": "STRONG", "tag": "stack"}
    assert c.load_balancers.update(balancer["id"], body=strong)["load_balancer"]["droplet_ids"] == [one, two]
    assert c.load_balancers.list()["meta"]["total"] == 1
    assert c.vpcs.list_members(vpc["id"])["meta"]["total"] == 3
    assert c.vpcs.list_members(vpc["id"], resource_type="droplet")["meta"]["total"] == 2

    zone = "seawall.example"
    c.domains.create(body={"name": zone, "ip_address": "198.51.100.7"})
    assert c.domains.get(zone)["domain"]["name"] == c.domains.list()["domains"][0]["name"] == zone
    assert c.domains.list_records(zone)["meta"]["total"] == 4  # three name servers and the address
    record = c.domains.create_record(zone, body={"type": "A", "name": "www", "data": "198.51.100.8"})
    number = record["domain_record"]["id"]
    c.domains.patch_record(zone, number, body={"type": "A", "data": "198.51.100.9"})
    c.domains.update_record(zone, number, body={"type": "A", "ttl": 60})
    now = c.domains.get_record(zone, number)["domain_record"]
    assert (now["name"], now["data"], now["ttl"]) == ("www", "198.51.100.9", 60)
    c.domains.delete_record(zone, number)
    c.domains.delete(zone)

    volume = c.volumes.create(body={"name": "data", "region": "fra1", "size_gigabytes": 10})["volume"]
    assert c.volumes.get(volume["id"])["volume"] == c.volumes.list()["volumes"][0] == volume
    c.volumes.delete(volume["id"])
    assert c.snapshots.list()["meta"]["total"] == 0
    reserved = c.reserved_ips.create(body={"droplet_id": one})["reserved_ip"]
    assert c.reserved_ips.list()["reserved_ips"][0]["droplet"]["id"] == one
    assert c.reserved_ips.get(reserved["ip"])["reserved_ip"]["ip"] == reserved["ip"]
    done = c.reserved_ips_actions.post(reserved["ip"], body={"type": "unassign"})["action"]
    assert c.reserved_ips_actions.get(reserved["ip"], done["id"])["action"]["type"] == "unassign_ip"
    assert c.reserved_ips_actions.list(reserved["ip"])["meta"]["total"] == 1
    c.reserved_ips_actions.post(reserved["ip"], body={"type": "assign", "droplet_id": two})
    assert c.reserved_ips.get(reserved["ip"])["reserved_ip"]["droplet"]["name"] == "app-2"
    c.reserved_ips.delete(reserved["ip"])

    c.droplet_actions.post(
        one, body={"type": "enable_backups", "backup_policy": {"plan": "daily", "hour": 4}}
    )
    lab.settle()
    assert "backups" in c.droplets.get(one)["droplet"]["features"]
    assert c.droplets.get_backup_policy(one)["policy"]["backup_policy"]["retention_period_days"] == 7

    way_out = {"name": "out", "type": "PUBLIC", "region": "fra1", "size": 1}
    way_out |= {"vpcs": [{"vpc_uuid": vpc["id"], "default_gateway": True}]}
    gateway = c.vpcnatgateways.create(body=way_out)["vpc_nat_gateway"]
    assert c.vpcnatgateways.list()["vpc_nat_gateways"] == [gateway]
    changed = c.vpcnatgateways.update(gateway["id"], body={"name": "out-2", "size": 2})["vpc_nat_gateway"]
    assert c.vpcnatgateways.get(gateway["id"])["vpc_nat_gateway"] == changed
    assert (changed["name"], changed["size"], changed["egresses"]) == ("out-2", 2, gateway["egresses"])
    c.vpcnatgateways.delete(gateway["id"])

    project = c.projects.create(body={"name": "shop", "purpose": "Web Application"})["project"]["id"]
    assert c.projects.patch(project, body={"environment": "Production"})["project"]["name"] == "shop"
    assert c.projects.update(project, body={"description": "x"})["project"]["environment"] == "Production"
    urns = {"resources": [f"do:droplet:{one}"]}
    assert c.projects.assign_resources(project, body=urns)["resources"][0]["status"] == "assigned"
    assert c.projects.list_resources(project)["resources"][0]["urn"] == f"do:droplet:{one}"
    assert c.projects.delete(project)["id"] == "precondition_failed"
    c.projects.assign_resources_default(body=urns)
    assert c.projects.list_resources_default()["meta"]["total"] == 1
    c.projects.delete(project)

    told = {"email": ["ops@example.com"], "slack": []}
    alert = {"type": "v1/insights/droplet/cpu", "description": "hot", "compare": "GreaterThan", "value": 90}
    alert |= {"window": "5m", "entities": [str(one)], "tags": ["stack"], "alerts": told, "enabled": True}
    uuid = c.monitoring.create_alert_policy(body=alert)["policy"]["uuid"]
    c.monitoring.update_alert_policy(uuid, body=alert | {"value": 80})
    assert c.monitoring.get_alert_policy(uuid)["policy"]["value"] == 80
    assert c.monitoring.list_alert_policy()["meta"]["total"] == 1
    c.monitoring.delete_alert_policy(uuid)

    check = {"name": "site", "type": "https", "target": "https://app.seawall.test/", "regions": ["eu_west"]}
    check |= {"enabled": True, "method": "GET"}
    site = c.uptime.create_check(body=check)["check"]["id"]
    c.uptime.update_check(site, body=check | {"name": "shop"})
    assert c.uptime.get_check(site)["check"]["name"] == "shop"
    assert c.uptime.list_checks()["meta"]["total"] == 1
    assert c.uptime.get_check_state(site)["state"]["regions"]["eu_west"]["status"] == "CHECKING"
    ends = {"name": "ends", "type": "ssl_expiry", "threshold": 21, "notifications": told, "period": "1h"}
    number = c.uptime.create_alert(site, body=ends)["alert"]["id"]
    c.uptime.update_alert(site, number, body=ends | {"threshold": 30})
    assert c.uptime.get_alert(site, number)["alert"]["threshold"] == 30
    assert c.uptime.list_alerts(site)["meta"]["total"] == 1
    c.uptime.delete_alert(site, number)
    c.uptime.delete_check(site)

    c.load_balancers.delete(balancer["id"])
    c.certificates.delete(certificate["id"])
    c.firewalls.delete(wall["id"])
    c.droplets.destroy(one)
    c.droplets.destroy_by_tag(tag_name="stack")
    lab.settle()
    assert c.droplets.list()["meta"]["total"] == 0
    c.vpcs.delete(vpc["id"])
    c.tags.delete("stack")
    c.ssh_keys.delete(key["id"])

    # A regional load balancer has no cache: that operation only ever refuses.
    never = {("DELETE", "/v2/load_balancers/{lb_id}/cache")}
    assert {(method, path) for method, path, _ in served()} - lab.judge.driven == never
    assert not lab.store.unknown_routes()


def test_pages(lab):
    for number in range(45):
        lab.tag(f"t{number:02}")
    first = lab.ask("GET", "/v2/tags", expect=200)
    assert (len(first["tags"]), first["meta"]) == (20, {"total": 45})
    names, page = [], "/v2/tags?per_page=10"
    while page:
        answer = lab.http.get(page).json()
        names += [tag["name"] for tag in answer["tags"]]
        page = answer["links"].get("pages", {}).get("next")
    assert names == [f"t{number:02}" for number in range(45)]
    assert len(lab.ask("GET", "/v2/tags?per_page=1000")["tags"]) == 45
    last = lab.ask("GET", "/v2/tags?per_page=20&page=3")
    assert set(last["links"]["pages"]) == {"first", "prev"}
    assert lab.ask("GET", "/v2/tags?page=99999999", expect=200)["tags"] == []
    for wrong in ("page=0", "page=-1", "page=x", "per_page=0", "per_page=1e3", "page=" + "9" * 40):
        assert lab.ask("GET", f"/v2/tags?{wrong}", expect=422)["id"] == "unprocessable_entity"


def test_page_links_keep_the_filter(lab):
    for number in range(3):
        lab.droplet(f"app-{number}", tags=["x"], settle=False)
    link = lab.ask("GET", "/v2/droplets?tag_name=x&per_page=1")["links"]["pages"]["next"]
    assert "tag_name=x" in link
    assert lab.http.get(link).json()["droplets"][0]["name"] == "app-1"
    lab.settle()


def test_no_token_and_a_wrong_one(lab):
    for headers in (
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Basic x"},
        {"Authorization": ""},
    ):
        answer = lab.http.build_request("GET", "/v2/account")
        answer.headers.pop("Authorization")
        answer.headers.update(headers)
        refused = lab.http.send(answer)
        assert refused.status_code == 401
        assert refused.json()["id"] == "unauthorized"
        assert refused.json()["request_id"] == refused.headers["x-request-id"]


def test_a_token_that_only_reads(lab):
    """DigitalOcean's scopes, as far as a watch needs them: every GET, and nothing else."""
    token = reader_token(hashlib.sha256(TOKEN.encode()).hexdigest())
    headers = {"Authorization": f"Bearer {token}"}
    assert lab.http.get("/v2/account", headers=headers).status_code == 200
    for method, path in (("POST", "/v2/tags"), ("DELETE", "/v2/tags/x"), ("PUT", "/v2/account/keys/1")):
        refused = lab.http.request(method, path, headers=headers, json={"name": "x"})
        assert (refused.status_code, refused.json()["id"]) == (403, "forbidden")
    assert lab.ask("GET", "/v2/tags")["tags"] == []


def test_unknown_routes_answer_404_and_are_remembered(lab):
    lab.ask("GET", "/v2/databases", expect=404)
    lab.ask("GET", "/v2/databases", expect=404)
    lab.ask("PATCH", "/v2/droplets", expect=404)
    assert lab.store.unknown_routes() == [("GET", "/v2/databases", 2), ("PATCH", "/v2/droplets", 1)]


def test_health_needs_no_token(lab):
    lab.settle()
    assert lab.http.get("/healthz", headers={"Authorization": ""}).json() == {
        "kind": "record-only",
        "settled": True,
    }
