"""Who is told when a droplet runs full or the site can't be reached, and before its certificate ends."""

from __future__ import annotations

import pulumi
import pulumi_digitalocean as do

from infra.settings import Settings, Slack
from infra.stack import Stack

REGIONS = ("us_east", "eu_west")
"""From where the site is looked at. Two: a provider between one of them and the site may fail, too."""


def create(stack: Stack, settings: Settings, tag: do.Tag) -> None:
    """Alerts on the stack's droplets by the tag all have, and a check of the site from outside. None if not set."""
    wanted = settings.alerts
    if wanted is None:
        return
    emails, slacks = list(wanted.emails), [] if wanted.slack is None else [wanted.slack]
    for metric, percent, window in (
        ("cpu", wanted.cpu_percent, "10m"),
        ("memory_utilization_percent", wanted.memory_percent, "10m"),
        ("disk_utilization_percent", wanted.disk_percent, "5m"),
    ):
        do.MonitorAlert(
            metric,
            description=f"{stack.name}: {metric.split('_')[0]} over {percent}% for {window}",
            type=f"v1/insights/droplet/{metric}",
            compare="GreaterThan",
            value=percent,
            window=window,
            tags=[tag.name],
            alerts=do.MonitorAlertAlertsArgs(
                emails=emails,
                slacks=[
                    do.MonitorAlertAlertsSlackArgs(channel=each.channel, url=_url(each)) for each in slacks
                ],
            ),
        )
    check = do.UptimeCheck(
        "site",
        name=stack.name,
        target=f"https://{settings.domain}/healthz",
        type="https",
        regions=list(REGIONS),
    )
    told = do.UptimeAlertNotificationArgs(
        emails=emails,
        slacks=[do.UptimeAlertNotificationSlackArgs(channel=each.channel, url=_url(each)) for each in slacks],
    )
    do.UptimeAlert(
        "down",
        name=f"{stack.name} is down",
        check_id=check.id,
        type="down_global",
        period="2m",
        notifications=[told],
    )
    do.UptimeAlert(
        "certificate-ends",
        name=f"The certificate of {settings.domain} ends",
        check_id=check.id,
        type="ssl_expiry",
        threshold=wanted.certificate_days,
        comparison="less_than",
        period="1h",
        notifications=[told],
    )


def _url(slack: Slack) -> pulumi.Output[str]:
    """A webhook's address is all one needs to write there: a secret."""
    return pulumi.Output.secret(slack.url_file.read_text().strip())
