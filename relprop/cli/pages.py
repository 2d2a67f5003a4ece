"""What the HTML page of one explained picture says."""

from __future__ import annotations

import platform
from collections.abc import Sequence

import numpy as np
import torch

import relprop
from relprop.cli.classes import Classes
from relprop.cli.explaining import Attribution, View
from relprop.cli.presenting import SUM_ROWS
from relprop.visualize.page import Answer, Chapter, Page


def page_of(
    name: str,
    model: str,
    view: View,
    classes: Classes,
    target: int,
    top: int,
    attributions: Sequence[Attribution],
) -> Page:
    """A page on the class `target` of a picture, with its `top` likeliest classes."""
    probabilities = view.probabilities()

    def answer(number: int) -> Answer:
        return Answer(classes.label(number), number, float(probabilities[number]))

    likeliest = probabilities.topk(min(top, len(probabilities))).indices.tolist()
    return Page(
        name=name,
        model=model,
        picture=np.asarray(view.crop, dtype=np.uint8),
        answers=list(map(answer, likeliest)),
        target=answer(target),
        score=float(view.outputs[target]),
        chapters=list(map(_chapter, attributions)),
        versions=_versions(),
    )


def _chapter(attribution: Attribution) -> Chapter:
    return Chapter(
        title=attribution.method,
        settings=attribution.settings,
        sums=[
            (words or attribution.quantity, amount(attribution.sums))
            for words, amount in SUM_ROWS.items()
        ],
        relevance=attribution.relevance,
        layers=attribution.layers,
        books=attribution.books,
    )


def _versions() -> dict[str, str]:
    return {
        "relprop": relprop.__version__,
        "torch": torch.__version__,
        "Python": platform.python_version(),
    }
