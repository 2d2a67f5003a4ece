"""The outcomes as a Markdown table, as JSON and as box plots."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from benchmarks.mnist_digits.erasing import PIXELS, TASKS, Outcome, Task

Outcomes = dict[str, dict[Task, Outcome]]

PUBLISHED = {
    "DeepLIFT RevealCancel": (10_100, 8_600, 10_100, 8_600),
    "best gradient method": (8_000, 7_100, 8_600, 7_800),
}
"""Medians in figure 4 of Shrikumar et al. (2017), with the weights of its authors, by `TASKS`."""

OURS, OTHERS, ALPHA = "#c1432e", "#8a97a6", 0.75


def write(outcomes: Outcomes, facts: dict[str, str], folder: Path) -> list[Path]:
    """Write all three into `folder`, and say which files they are."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / name for name in ("results.md", "results.json", "changes.png")]
    files[0].write_text(markdown(outcomes, facts), encoding="utf-8")
    files[1].write_text(json.dumps(as_json(outcomes, facts), indent=1) + "\n", encoding="utf-8")
    figure(outcomes, facts).savefig(files[2], dpi=150)
    return files


def markdown(outcomes: Outcomes, facts: dict[str, str]) -> str:
    """What was measured, and what is needed to read it."""
    digits = ", ".join(str(n) for n in _counts(outcomes))
    published = "; ".join(
        f"{name} {', '.join(f'{value / 1000:.1f}k' for value in values)}"
        for name, values in PUBLISHED.items()
    )
    lines = [
        "# Erasing the pixels that make a digit what it is",
        "",
        *(f"- {name}: {fact}" for name, fact in facts.items()),
        "",
        f"Median change of the log-odds of the digit's class over the other when up to {PIXELS} "
        "pixels are erased. More is better.",
        "",
        *_table(outcomes, lambda outcome: outcome.median, "{:,.1f}"),
        "",
        f"Medians over the held-out digits of each task's class ({digits}). The experiment is that "
        "of Shrikumar et al. (2017), section 4.1. Medians published there, with the authors' "
        f"weights and 1,000 digits a class: {published}. Logits scale with the weights, so numbers "
        "compare within a table only.",
        "",
        "Digits that the network takes for the target rather than the source afterwards, in %. "
        "More is better.",
        "",
        *_table(outcomes, lambda outcome: 100 * outcome.share_turned, "{:.0f}"),
        "",
        f"Median number of pixels erased. Below {PIXELS}, all that speak for the source are gone: "
        "methods that agree on the signs then erase the same ones.",
        "",
        *_table(outcomes, lambda outcome: outcome.median_erased, "{:.0f}", bold=False),
        "",
    ]
    failures = {name: _failure(by_task) for name, by_task in outcomes.items() if _failure(by_task)}
    if failures:
        lines += ["Failed:", "", *(f"- {name}: {text}" for name, text in failures.items()), ""]
    return "\n".join(lines)


def as_json(outcomes: Outcomes, facts: dict[str, str]) -> dict[str, Any]:
    """Everything that was measured, digit by digit."""

    def one(outcome: Outcome) -> dict[str, Any]:
        if outcome.failure:
            return {"failure": outcome.failure}
        return {
            "median": outcome.median,
            "change": outcome.change.tolist(),
            "erased": outcome.erased.tolist(),
            "turned": outcome.turned.tolist(),
        }

    methods = {
        name: {f"{task.source}->{task.target}": one(outcome) for task, outcome in by_task.items()}
        for name, by_task in outcomes.items()
    }
    return {"facts": facts, "pixels": PIXELS, "published": PUBLISHED, "methods": methods}


def figure(outcomes: Outcomes, facts: dict[str, str]) -> Figure:
    """One panel a task, one box a method: quartiles, and whiskers from 5 to 95 %."""
    drawing = Figure(figsize=(11, 7.2), layout="constrained")
    axes = drawing.subplots(2, 2, sharey=True)
    for axis, task in zip(axes.flat, TASKS, strict=True):
        _panel(axis, task, {name: by_task[task] for name, by_task in outcomes.items()})
    for axis in axes[-1]:
        axis.set_xlabel("change in log-odds, source over target")
    drawing.suptitle(
        f"What erasing up to {PIXELS} pixels changes: more is better", fontsize=13, weight="bold"
    )
    drawing.legend(
        handles=[
            Patch(color=OURS, alpha=ALPHA, label="relprop"),
            Patch(color=OTHERS, alpha=ALPHA, label="plain gradients of torch"),
            Line2D([], [], color="black", linestyle=":", label="best median"),
        ],
        title="Box: median and quartiles; whiskers: 5 to 95 %. "
        f"Network: {facts['weights']}; {facts['accuracy']}.",
        title_fontsize=9,
        loc="outside lower center",
        ncols=3,
        frameon=False,
    )
    return drawing


def _panel(axis: Axes, task: Task, outcomes: dict[str, Outcome]) -> None:
    places = {name: -place for place, name in enumerate(outcomes)}
    good = {name: outcome for name, outcome in outcomes.items() if not outcome.failure}
    if good:
        boxes = axis.boxplot(
            [outcome.change.numpy() for outcome in good.values()],
            positions=[places[name] for name in good],
            orientation="horizontal",
            widths=0.62,
            whis=(5, 95),
            patch_artist=True,
            medianprops={"color": "black", "linewidth": 1.6},
            flierprops={"marker": ".", "markersize": 3, "markeredgecolor": "#999999"},
        )
        for name, box in zip(good, boxes["boxes"], strict=True):
            box.set(facecolor=OURS if _is_ours(name) else OTHERS, alpha=ALPHA, linewidth=0.8)
        best = max(outcome.median for outcome in good.values())
        axis.axvline(best, color="black", linewidth=0.7, linestyle=":")
    for name in outcomes.keys() - good.keys():
        axis.text(
            0.02, places[name], "failed", transform=axis.get_yaxis_transform(), va="center",
            color=OURS, style="italic",
        )  # fmt: skip
    axis.set_yticks(list(places.values()), list(places))
    axis.set_ylim(-len(places) + 0.4, 0.6)
    axis.set_title(str(task), weight="bold")
    axis.grid(axis="x", linewidth=0.4, alpha=0.6)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(axis="y", length=0)


def _is_ours(name: str) -> bool:
    return name.startswith(("DeepLIFT", "LRP"))


def _failure(by_task: dict[Task, Outcome]) -> str:
    return next((outcome.failure for outcome in by_task.values() if outcome.failure), "")


def _counts(outcomes: Outcomes) -> list[int]:
    """How many digits each task had, where some method did not fail."""
    return [max(len(by_task[task].change) for by_task in outcomes.values()) for task in TASKS]


def _table(
    outcomes: Outcomes, value: Callable[[Outcome], float], spelling: str, *, bold: bool = True
) -> list[str]:
    """A row for each method; in every column, `bold` sets off what is largest as printed."""
    good = {name: by_task for name, by_task in outcomes.items() if not _failure(by_task)}
    values = {name: [value(by_task[task]) for task in TASKS] for name, by_task in good.items()}
    best = [spelling.format(max(column)) for column in zip(*values.values(), strict=True)]
    lines = [
        "| method | " + " | ".join(map(str, TASKS)) + " |",
        "|---|" + "--:|" * len(TASKS),
    ]
    for name in outcomes:
        cells = ["failed"] * len(TASKS)
        if name in good:
            texts = [spelling.format(number) for number in values[name]]
            cells = [
                f"**{text}**" if bold and text == top else text
                for text, top in zip(texts, best, strict=True)
            ]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines
