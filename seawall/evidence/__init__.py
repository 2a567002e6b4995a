"""Evidence an auditor can verify: a signed bundle made of findings, facts and what people attest.

Read in this order: ``context`` (everything a bundle is made from), ``parts`` (what writes its files), ``bundle`` (whole
and signed, or absent), ``check`` (what `seawall evidence verify` does), ``store`` (where bundles are kept).
"""
