"""Certificates: none that runs out unseen."""

from datetime import timedelta

from policy.cloud import Certificate, Cloud
from policy.rule import rule

NOTICE = {"lets_encrypt": timedelta(days=14), "custom": timedelta(days=30)}
"""DigitalOcean renews its own 30 days before; one that has less than 14 wasn't renewed. Yours need a person."""


@rule(
    "certificate-expiry",
    "No certificate expires soon",
    on=Cloud,
    severity="critical",
    requirements=["pci-4.2.1"],
    remedy="Replace it: a new name beside the old one, then the load balancer, then the old one goes.",
)
def expiry(cloud):
    for certificate in cloud.every(Certificate):
        if certificate.expires is None:
            continue
        left = certificate.expires - cloud.at
        if left < NOTICE.get(certificate.type, NOTICE["custom"]):
            when = "expired" if left < timedelta() else f"expires in {left.days} days,"
            yield certificate, f"it {when} on {certificate.expires:%Y-%m-%d}"
