"""What the account is asked before anything is created, of the API the lab serves."""

from __future__ import annotations

import re

import httpx
import pytest
from infra_support import ACCOUNT, CHECKOUT, NOW, lab

from infra import account
from infra.settings import Settings
from tests.lab.api_support import TOKEN, cloud


@pytest.fixture(scope="module")
def api(tmp_path_factory):
    with cloud(tmp_path_factory.mktemp("api") / "api.sqlite3") as served:
        served.vpc("10.20.8.0/21", name="other")
        yield served.url


@pytest.fixture
def values(tmp_path):
    return lab(tmp_path)


def faults(values, api, tmp_path, token=TOKEN, own="seawall-lab"):
    settings = Settings.load(values, CHECKOUT, seawall_dir=tmp_path, now=NOW)
    return account.faults(settings, own, account.client(token, api))


def test_a_range_that_is_taken(values, api, tmp_path):
    assert faults(values, api, tmp_path) == [
        "seawall:vpcRange: 10.20.0.0/20 overlaps 10.20.8.0/21 of the VPC other in this account, and DigitalOcean keeps "
        "them apart. Choose another range."
    ]


def test_its_own_range_is_not_taken(values, api, tmp_path):
    assert faults(values, api, tmp_path, own="other") == []


def test_no_such_size_or_image(values, api, tmp_path):
    values["vpcRange"] = "10.30.0.0/20"
    values["tiers"]["app"]["size"] = "s-1vcpu-1mb"
    values["tiers"]["logs"]["image"] = "debian-6-x64"
    size, image = faults(values, api, tmp_path)
    assert size.startswith(
        "seawall:tiers.app.size: region fra1 has no size s-1vcpu-1mb. Choose one it has, e.g. s-"
    )
    assert image == (
        "seawall:tiers.logs.image: region fra1 has no image debian-6-x64. Choose one it has, e.g. "
        "debian-13-x64, debian-12-x64."
    )


def test_a_size_that_another_region_has(values, api, tmp_path):
    values["vpcRange"], values["region"] = "10.30.0.0/20", "lon1"
    values["tiers"]["app"]["size"] = "s-1vcpu-512mb-10gb"
    (problem,) = faults(values, api, tmp_path)
    assert "region lon1 has no size s-1vcpu-512mb-10gb" in problem


def test_no_such_region(values, api, tmp_path):
    values["region"] = "fra9"
    (problem,) = faults(values, api, tmp_path)
    assert problem.startswith(
        "seawall:region: there is no region fra9 to create in. Choose one it has, e.g. fra1"
    )


def test_no_token(monkeypatch):
    for name in ("DIGITALOCEAN_TOKEN", "DIGITALOCEAN_ACCESS_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(
        account.Unanswered, match=r"There is no DigitalOcean token.*pulumi config set --secret"
    ):
        account.client(None, None)


def test_a_token_that_is_refused(values, api, tmp_path):
    with pytest.raises(account.Unanswered, match=r"refused the token \(401 for /v2/regions") as refused:
        faults(values, api, tmp_path, token="not-the-token")
    assert "not-the-token" not in str(refused.value)


def test_nobody_answers(values, tmp_path):
    def unreachable(request):
        raise httpx.ConnectError("Connection refused")

    ask = account.client(TOKEN, "http://127.0.0.1:1", httpx.MockTransport(unreachable))
    with pytest.raises(
        account.Unanswered, match=r"does not answer .Connection refused.*`seawall up` starts it"
    ):
        ask("/v2/regions")


@pytest.mark.parametrize(
    ("stands", "wanted", "open_", "declared", "said"),
    [
        (False, True, True, True, ""),
        (
            False,
            True,
            False,
            True,
            "switched on while 8443/tcp is closed, .* and run `up` first; then switch.",
        ),
        (True, False, True, True, ""),
        (True, False, True, False, "switched off while 8443/tcp is to be closed, .* until that is done."),
        (True, True, True, True, ""),
        (False, False, True, False, ""),
        (True, False, False, False, ""),
    ],
)
def test_the_proxy_protocol_is_switched_between_open_ports(
    values, tmp_path, stands, wanted, open_, declared, said
):
    values["proxyProtocol"] = wanted
    values["flows"][1]["ports"] = ["443/tcp", "8443/tcp"] if declared else ["443/tcp"]
    rule = {"protocol": "tcp", "ports": "8443" if open_ else "443", "sources": {"load_balancer_uids": ["lb"]}}
    own = {"name": "seawall-lab", "id": "lb", "enable_proxy_protocol": stands}
    account_now = ACCOUNT | {
        "/v2/load_balancers?per_page=200": {"load_balancers": [{"name": "other", "id": "x"}, own]},
        "/v2/firewalls?per_page=200": {"firewalls": [{"inbound_rules": [rule]}]},
    }
    settings = Settings.load(values, CHECKOUT, seawall_dir=tmp_path, now=NOW)
    found = account.faults(settings, "seawall-lab", account_now.__getitem__)
    assert len(found) == bool(said)
    assert re.search(said, "".join(found))
