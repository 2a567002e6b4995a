"""Read each document as compliance-trestle does, which validates it: run by trestle's own Python."""

import sys
from pathlib import Path

from trestle.oscal.assessment_results import AssessmentResults
from trestle.oscal.catalog import Catalog

folder = Path(sys.argv[1])
results = AssessmentResults.oscal_read(folder / "assessment-results.json")
catalog = Catalog.oscal_read(folder / "catalog.json")
if not results or not catalog:
    sys.exit("a document is missing")
known = {control.id for group in catalog.groups for control in group.controls}
named = {finding.target.target_id for result in results.results for finding in result.findings}
if not named or named - known:
    sys.exit(f"the results speak of what the catalogue has not: {sorted(named - known) or 'nothing at all'}")
print(len(results.results[0].observations), "observations,", len(named), "requirements")
