"""Flows: no opening without a reason, an owner and a day to look at it again."""

from datetime import date

from policy.cloud import Cloud, Flow
from policy.rule import rule

UNSEEN = "flows are the program's; the account knows only what became of them"


@rule(
    "flow-reason",
    "Every flow says why it exists and who answers for it",
    on=Flow,
    severity="high",
    requirements=["pci-1.2.5"],
    remedy="Write reason and owner beside the flow.",
    unseen=UNSEEN,
)
def reason(flow):
    missing = [name for name in ("reason", "owner") if not getattr(flow, name).strip()]
    if missing:
        yield f"it has no {' and no '.join(missing)}"


@rule(
    "flow-review",
    "No flow is past its day of review",
    on=Cloud,
    severity="medium",
    requirements=["pci-1.2.7"],
    remedy="Look at the flow again with its owner, then write the next day, at most six months on.",
    advisory=True,
    unseen=UNSEEN,
)
def review(cloud):
    for flow in cloud.every(Flow):
        if flow.review_by and date.fromisoformat(flow.review_by) < cloud.at.date():
            yield flow, f"it was to be reviewed by {flow.review_by}"


@rule(
    "flow-public-tier",
    "From the internet a flow leads to the load balancer only",
    on=Flow,
    severity="critical",
    requirements=["pci-1.4.2"],
    remedy="Lead it to the loadbalancer, and from there to the tier.",
    unseen=UNSEEN,
)
def public_tier(flow):
    if flow.source == "internet" and flow.to != "loadbalancer":
        yield f"it leads from the internet straight to {flow.to}"
