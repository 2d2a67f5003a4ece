"""What was measured, as a table, as JSON and as a picture, beside what it was to be."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.large.cases import FILES, HEAVY, MEMORY, SCALED, WHOLE
from benchmarks.large.measuring import Measured
from benchmarks.large.scene import NAME
from relprop.attribution.arguments import as_bytes

MIB = 2**20
FLAT, OVERHEAD = 0.15, 1.5
"""By how much seconds a megapixel may differ from their median over sizes, and how many times those
of the whole they may be."""
BUDGET = "memory_budget"
"""The fact that says it."""
STYLES: dict[str, dict[str, Any]] = {
    WHOLE: {"color": "#444444", "marker": "s"},
    FILES: {"color": "#c1432e", "marker": "o"},
    MEMORY: {"color": "#2f6f9f", "marker": "^"},
}
HEADINGS = {
    "network": "---",
    "image": "---",
    "megapixels": "--:",
    "way": "---",
    "seconds": "--:",
    "a megapixel": "--:",
    "times the whole's": "--:",
    "work, by the plan": "--:",
    "MiB above the model": "--:",
    "MiB, by the plan": "--:",
    "difference": "--:",
}


@dataclass(frozen=True)
class Goal:
    """What was to be, what is, and whether that is as it was to be."""

    text: str
    found: str
    met: bool


def read(folder: Path, facts: dict[str, str]) -> list[Measured]:
    """What was measured before under the same facts."""
    path = folder / "results.json"
    content = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    same = content.get("facts") == facts
    return [Measured(**one) for one in content["measured"]] if same else []


def write(measured: list[Measured], facts: dict[str, str], folder: Path) -> list[Path]:
    """Write all three into `folder`, and say which files they are."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / name for name in ("results.md", "results.json", "large.png")]
    files[0].write_text(markdown(measured, facts), encoding="utf-8")
    content = {"facts": facts, "measured": [one.as_dict() for one in measured]}
    files[1].write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    figure(measured, as_bytes(facts[BUDGET])).savefig(files[2], dpi=110)
    return files


def whole_rate(measured: list[Measured], network: str) -> float | None:
    """Seconds a megapixel of the largest image that the network explained as a whole."""
    wholes = [one for one in measured if (one.network, one.way) == (network, WHOLE) and one.seconds]
    return max(wholes, key=lambda one: one.megapixels).rate if wholes else None


def goals(measured: list[Measured], budget: int) -> Iterator[Goal]:
    """What was to be, as far as something is known of it."""
    tiled = [one for one in measured if one.way != WHOLE and one.seconds]
    scenes = [one for one in tiled if is_scene(one) and one.way == FILES]
    photographs = [one for one in tiled if not is_scene(one)]
    for one in [*photographs, *sorted(scenes, key=lambda one: one.megapixels)[-1:]]:
        text = f"{one.network} explains {one.image}, {one.way}, in at most {budget // MIB} MiB"
        yield Goal(text, f"{one.rise / MIB:.0f} MiB", one.rise <= budget)
    for network in dict.fromkeys(one.network for one in tiled):
        of_whole = whole_rate(measured, network)
        rates = [one.rate for one in tiled if one.network == network]
        if of_whole:
            text = f"{network} by tiles takes at most {OVERHEAD} times as long as the whole"
            worst = max(rates) / of_whole
            yield Goal(text, f"{worst:.2f} times, at most", worst <= OVERHEAD)
    if len(scenes) > 1:
        middle = statistics.median(one.rate for one in scenes)
        worst = max(abs(one.rate / middle - 1) for one in scenes)
        text = f"seconds a megapixel of scenes of all sizes are within {FLAT:.0%} of their median"
        yield Goal(text, f"within {worst:.0%}", worst <= FLAT)


def is_scene(one: Measured) -> bool:
    """Whether it is synthetic."""
    return one.image.startswith(NAME)


def markdown(measured: list[Measured], facts: dict[str, str]) -> str:
    """What was measured, and what is needed to read it."""
    found = goals(measured, as_bytes(facts[BUDGET]))
    return "\n".join(
        [
            "# Large images",
            "",
            *(f"- {name}: {fact}" for name, fact in facts.items()),
            "",
            "| goal | found |",
            "|---|--:|",
            *(f"| {g.text} | {f'**{g.found}**' if g.met else g.found} |" for g in found),
            "",
            f"| {' | '.join(HEADINGS)} |",
            f"|{'|'.join(HEADINGS.values())}|",
            *(f"| {' | '.join(_row(measured, one))} |" for one in measured),
            "",
            "LRP epsilon_plus_flat, each in a process of its own. **Bold** is a goal met.",
            "",
            f"- {WHOLE}: `attribute`. {MEMORY}: `attribute` with a `memory_budget`, which is what "
            "the input leaves of the budget. "
            f"{FILES}: `explain_large`, from the pixels to a finished Zarr pyramid.",
            "- seconds: median of up to five rounds, as many as fit into 15 s. Planning, reading "
            "and writing are in them.",
            "- times the whole's: seconds a megapixel, in those of the largest image that the same "
            "network explained as a whole.",
            "- above the model: peak of resident memory over what there was when a tiny scene had "
            "been explained, so with the image and its relevance where these are in memory. All "
            "run with `MALLOC_MMAP_THRESHOLD_=65536`, `MALLOC_TRIM_THRESHOLD_=65536`, "
            "`MALLOC_ARENA_MAX=1`, so that what is freed goes back to the system.",
            "- difference: of relevance at 256 x 256 points, from that of the image's first row, "
            "the largest over the largest.",
            "",
            "![Seconds a megapixel and peak memory by size](large.png)",
            "",
            "## Plans",
            "",
            *(line for one in measured if one.plan for line in _plan(one)),
        ]
    )


def _row(measured: list[Measured], one: Measured) -> list[str]:
    who = [one.network, one.image, f"{one.megapixels:.1f}", one.way]
    if one.failure:
        return [*who, one.failure, *[""] * (len(HEADINGS) - len(who) - 1)]
    of_whole = whole_rate(measured, one.network)
    return [
        *who,
        f"{statistics.median(one.seconds):.1f}",
        f"{one.rate:.2f}",
        f"{one.rate / of_whole:.2f}" if of_whole else "",
        f"{one.work:.2f}" if one.work else "",
        f"{one.rise / MIB:.0f}",
        f"{one.planned / MIB:.0f}" if one.planned else "",
        f"{one.deviation:.0e}" if one.deviation is not None else "",
    ]


def _plan(one: Measured) -> list[str]:
    title = f"{one.network}, {one.image}, {one.way}:"
    return [title, "", "```", *one.plan.splitlines(), "```", ""]


def figure(measured: list[Measured], budget: int) -> Figure:
    """Seconds a megapixel of each network, and memory, by size."""
    drawing = Figure(figsize=(11, 3.4), layout="constrained")
    light, heavy, memory = drawing.subplots(1, 3, width_ratios=(3, 2, 3))
    for axes, network in ((light, SCALED), (heavy, HEAVY)):
        own = [one for one in measured if one.network == network and one.seconds]
        _draw(axes, own, lambda one: one.rate)
        of_whole = whole_rate(measured, network)
        if of_whole:
            label = f"{OVERHEAD} times the whole's"
            axes.axhline(OVERHEAD * of_whole, color="grey", linestyle=":", label=label)
        axes.set_title(f"{network}: seconds a megapixel", fontsize=10, weight="bold")
    done = [one for one in measured if one.seconds]
    _draw(memory, done, lambda one: one.rise / MIB)
    memory.axhline(budget / MIB, color="grey", linestyle=":", label="budget")
    memory.set_yscale("log", base=2)
    memory.set_title("peak above the model, MiB", fontsize=10, weight="bold")
    for axes in (light, heavy, memory):
        axes.set_xlabel("megapixels")
        axes.set_xscale("log", base=4)
        axes.xaxis.set_major_formatter("{x:.3g}")
        axes.yaxis.set_major_formatter("{x:.4g}")
        axes.spines[["top", "right"]].set_visible(False)
        if axes.lines:
            axes.legend(frameon=False, fontsize=8)
    for axes in (light, heavy):
        axes.set_ylim(0, None)
    return drawing


def _draw(axes: Axes, measured: list[Measured], height: Any) -> None:
    """A line through scenes for each way, and a point for each photograph, in the same color."""
    for way, style in STYLES.items():
        own = [one for one in measured if one.way == way]
        scenes = sorted((one for one in own if is_scene(one)), key=lambda one: one.megapixels)
        photographs = [one for one in own if not is_scene(one)]
        for group, line in ((scenes, "-"), (photographs, "")):
            if group:
                axes.plot(
                    [one.megapixels for one in group],
                    [height(one) for one in group],
                    linestyle=line,
                    fillstyle="full" if line else "none",
                    label=way if line else f"{way}, photograph",
                    **style,
                )
