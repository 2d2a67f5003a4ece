"""What was measured, as a table and as JSON."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.moving.works import Call, Score

Rounds = dict[str, list[dict[str, Any]]]
"""What each round of each package gave, by the package."""


@dataclass
class Moved:
    """What was run, what it took by package and round, and how far results differ.

    Attributes:
        parts: seconds by what they were spent on, then by package, a figure a round.
        deviation: the largest difference of results, in parts of the largest.
    """

    name: str
    remark: str
    deviation: float
    parts: dict[str, dict[str, list[float]]] = field(default_factory=dict)

    def gain(self, part: str) -> float:
        """How many times as fast ours is, paired by rounds, median."""
        before, after = self.parts[part].values()
        return statistics.median(a / b for a, b in zip(before, after, strict=True))


def of_script(call: Call, rounds: Rounds) -> Moved:
    """Of runs of the script: relevance of all pictures is compared, each with its own largest."""
    before, after = (found[-1]["relevance"] for found in rounds.values())
    largest = np.abs(before).max((1, 2), keepdims=True)
    deviation = float((np.abs(after - before) / largest).max())
    return _moved(call.name, call.remark, deviation, rounds, ("process", "attribution"))


def of_evaluation(score: Score, rounds: Rounds) -> Moved:
    """Of evaluations: the scores of each metric are compared, each with the largest of them."""
    before, after = (found[-1]["scores"] for found in rounds.values())
    deviation = max(
        float(np.abs(np.subtract(after[metric], scores)).max() / np.abs(scores).max())
        for metric, scores in before.items()
    )
    return _moved(score.method, score.remark, deviation, rounds, ("evaluation", "explanations"))


def _moved(name: str, remark: str, deviation: float, rounds: Rounds, parts: Sequence[str]) -> Moved:
    seconds = {
        part: {package: [one[part] for one in found] for package, found in rounds.items()}
        for part in parts
    }
    return Moved(name, remark, deviation, seconds)


def write(
    scripts: list[Moved], evaluations: list[Moved], facts: dict[str, str], folder: Path
) -> list[Path]:
    """Write table and JSON into `folder`, and say which files they are."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / "results.md", folder / "results.json"]
    files[0].write_text(markdown(scripts, evaluations, facts), encoding="utf-8")
    data = {
        "facts": facts,
        "script": [asdict(one) for one in scripts],
        "evaluation": [asdict(one) for one in evaluations],
    }
    files[1].write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    return files


def markdown(scripts: list[Moved], evaluations: list[Moved], facts: dict[str, str]) -> str:
    """What was measured, and what is needed to read it."""
    return "\n".join(
        [
            "# What changing an import gives",
            "",
            *(f"- {name}: {fact}" for name, fact in facts.items()),
            "",
            "Seconds are medians of rounds in which both took turns, each in a process of its own; "
            "`times as fast` is paired by rounds, median. `differ` is the largest difference of "
            "what came out, in parts of the largest number in it.",
            "",
            "## zennit's example script",
            "",
            "share/example/feed_forward.py of zennit 0.5.1, as it is and with other imports. The "
            "attributions are its calls of the attributor; its process builds the network, reads "
            "the photographs and saves pictures besides. relprop's first call captures the "
            "network, which is in its seconds.",
            "",
            *_table(scripts, ("attributions", "whole process"), ("attribution", "process")),
            "",
            "## An evaluation by Quantus",
            "",
            "`quantus.evaluate` with Sparseness, MaxSensitivity and PixelFlipping on VGG16, with "
            "`quantus.explain`, which calls captum, and with "
            "`relprop.compat.quantus.explain_func`. Scores are compared.",
            "",
            *_table(
                evaluations, ("explanations", "whole evaluation"), ("explanations", "evaluation")
            ),
            "",
        ]
    )


def _table(found: list[Moved], titles: tuple[str, str], parts: tuple[str, str]) -> list[str]:
    first, second = titles
    columns: dict[str, tuple[str, Callable[[Moved], str]]] = {
        "": ("---", lambda one: one.name),
        f"{first}, before": ("--:", lambda one: _seconds(one, parts[0], 0)),
        "after": ("--:", lambda one: _seconds(one, parts[0], 1)),
        "times as fast": ("--:", lambda one: f"**{one.gain(parts[0]):.1f}**"),
        f"{second}, before": ("--:", lambda one: _seconds(one, parts[1], 0)),
        "after ": ("--:", lambda one: _seconds(one, parts[1], 1)),
        "times as fast ": ("--:", lambda one: f"{one.gain(parts[1]):.1f}"),
        "differ": ("--:", lambda one: f"{one.deviation:.1e}"),
        "why": ("---", lambda one: one.remark),
    }
    rows = [[show(one) for _, show in columns.values()] for one in found]
    lines = [list(columns), [line for line, _ in columns.values()], *rows]
    return ["| " + " | ".join(cells) + " |" for cells in lines]


def _seconds(one: Moved, part: str, which: int) -> str:
    return f"{statistics.median(list(one.parts[part].values())[which]):.2f} s"
