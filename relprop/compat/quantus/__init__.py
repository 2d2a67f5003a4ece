"""Explanations for Quantus, whose metrics ask for them through a function.

`explain_func` goes where `quantus.explain` went; Quantus 0.6 need not be installed. docs/quantus.md
says how to move over, and what differs.
"""

from relprop.compat.quantus.explaining import ExplainFunc, explain_func, explainer
from relprop.compat.quantus.methods import METHODS, Method

__all__ = ["METHODS", "ExplainFunc", "Method", "explain_func", "explainer"]
