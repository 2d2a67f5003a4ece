"""shap's `DeepExplainer` with relprop underneath: change the import, keep the code.

Arguments and what is returned are those of shap 0.51 for PyTorch, which must be installed only for
`shap.Explanation`, which its plots take. docs/shap.md says how to move over, and what differs.
"""

from relprop.compat.shap.deep_explainer import AdditivityError, DeepExplainer

__all__ = ["AdditivityError", "DeepExplainer"]
