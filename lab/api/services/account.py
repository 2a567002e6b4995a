"""The account. The team's name tells which backend stands behind the API."""

from __future__ import annotations

from typing import Any

from ..http import Call, Service

service = Service()


@service.get("/v2/account")
def show(call: Call) -> dict[str, Any]:
    account = call.account
    return {
        "account": {
            "droplet_limit": account.droplet_limit,
            "floating_ip_limit": 0,
            "email": "ops@seawall.test",
            "name": "Seawall lab",
            "uuid": account.uuid,
            "email_verified": True,
            "status": "active",
            "status_message": "",
            "team": {"uuid": account.uuid, "name": call.kind},
        }
    }
