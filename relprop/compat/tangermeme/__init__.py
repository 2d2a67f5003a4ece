"""tangermeme's `deep_lift_shap` with relprop underneath: change the import, keep the code.

Arguments and what is returned are those of tangermeme 1.6, which need not be installed.
docs/tangermeme.md says how to move over, and what differs.
"""

from relprop.compat.tangermeme.deep_lift_shap import AttributionReferencesResult, deep_lift_shap
from relprop.compat.tangermeme.references import dinucleotide_shuffle

__all__ = ["AttributionReferencesResult", "deep_lift_shap", "dinucleotide_shuffle"]
