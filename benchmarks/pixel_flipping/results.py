"""The curves as a table, as JSON and as a picture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.pixel_flipping import drawing
from benchmarks.pixel_flipping.curves import SCORES, Curves, Estimate, area_over, area_under
from benchmarks.pixel_flipping.methods import METHODS, RANDOM

HEADINGS = {
    "method": "---",
    "under, probability": "--:",
    "less than random": "--:",
    "over, probability": "--:",
    "under, logit": "--:",
    "over, logit": "--:",
}
"""The columns of the table and how they are aligned."""


def write(
    outcomes: dict[str, Curves], share: float, facts: dict[str, str], folder: Path
) -> list[Path]:
    """Write all three into `folder`, and say which files they are."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / name for name in ("results.md", "results.json", "curves.png")]
    files[0].write_text(markdown(outcomes, share, facts), encoding="utf-8")
    data = as_json(outcomes, share, facts)
    files[1].write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    drawing.figure(outcomes, share).savefig(files[2], dpi=110)
    return files


def ranked(outcomes: dict[str, Curves]) -> list[str]:
    """The names of the methods, the smallest area under the curve of probability first."""
    return sorted(outcomes, key=lambda name: area_under(outcomes[name].probability).mean().item())


def markdown(outcomes: dict[str, Curves], share: float, facts: dict[str, str]) -> str:
    """What was measured, and what is needed to read it."""
    return "\n".join(
        [
            "# Erasing what a method says matters",
            "",
            *(f"- {name}: {fact}" for name, fact in facts.items()),
            "",
            "The regions with the largest sum of a map, over pixels and channels, are erased first "
            f"(Samek et al. 2017), until {share:.0%} of a photo are gone. A method that finds what "
            "matters has a curve that falls at once: a small area under it, a large one over it.",
            "",
            *_table(outcomes),
            "",
            "Area under the curve: its mean height while regions are erased. Area over it: AOPC, "
            "the mean fall from the whole photo (Samek et al. 2017, eq. 12). Means over photos and "
            "their standard errors. `less than random` is paired: random's area under the "
            "curve minus the method's, photo by photo; its error is the one to compare methods by, "
            "for photos differ more than methods do. Random is the mean of "
            f"{METHODS[RANDOM].draws} orders.",
            "",
            "Regions are large beside pixels, so this says which map points at the right places, "
            "not which is the sharpest. A method that is told the baseline that regions are "
            "replaced by explains just this change, and has it easier than the rest. Guided "
            "backprop changes ReLUs; EfficientNet-Lite0 has ReLU6 instead, which leave it the "
            "gradient.",
            "",
            "![Curves, by family of methods](curves.png)",
            "",
        ]
    )


def _table(outcomes: dict[str, Curves]) -> list[str]:
    lines = [f"| {' | '.join(HEADINGS)} |", f"|{'|'.join(HEADINGS.values())}|"]
    for name in ranked(outcomes):
        areas = _areas(outcomes[name])
        gain = _less_than_random(outcomes, name) if name != RANDOM else "0"
        cells = [
            name,
            areas["probability"]["under"],
            gain,
            areas["probability"]["over"],
            areas["logit"]["under"],
            areas["logit"]["over"],
        ]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return lines


def _areas(curves: Curves) -> dict[str, dict[str, Estimate]]:
    return {
        score: {
            "under": Estimate.of(area_under(getattr(curves, score))),
            "over": Estimate.of(area_over(getattr(curves, score))),
        }
        for score in SCORES
    }


def _less_than_random(outcomes: dict[str, Curves], name: str) -> Estimate:
    random, found = (area_under(outcomes[one].probability) for one in (RANDOM, name))
    return Estimate.of(random - found)


def as_json(outcomes: dict[str, Curves], share: float, facts: dict[str, str]) -> dict[str, Any]:
    """Areas photo by photo, and mean curves, the best method first."""

    def one(curves: Curves) -> dict[str, Any]:
        return {
            score: {
                "area under": _rounded(area_under(getattr(curves, score)).tolist()),
                "area over": _rounded(area_over(getattr(curves, score)).tolist()),
                "mean curve": _rounded(getattr(curves, score).mean(0).tolist()),
            }
            for score in SCORES
        }

    steps = len(next(iter(outcomes.values())).probability[0])
    return {
        "facts": facts,
        "erased": _rounded([share * step / (steps - 1) for step in range(steps)]),
        "methods": {
            name: {"family": METHODS[name].family, **one(outcomes[name])}
            for name in ranked(outcomes)
        },
    }


def _rounded(values: list[float]) -> list[float]:
    return [round(value, 5) for value in values]
