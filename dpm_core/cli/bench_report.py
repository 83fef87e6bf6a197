# SPDX-License-Identifier: Apache-2.0
"""`dpm bench report`: a page and charts of what was measured."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from ..atomic import atomic_file
from ..errors import DpmError
from ..io.charts import bar_chart, line_chart
from .arguments import parse
from .measuring import described

MEASUREMENTS = {
    "stream": ["stream"],
    "engines": ["engines"],
    "scale": ["scale"],
    "overlap": ["overlap"],
    "overlap_spare": ["overlap", "--threads", "1"],
    "soak": ["soak", "--size", "42x56"],
}
"""What `--measure` runs, by the name of its file. Other files of the folder, of other machines and networks, stay."""


@dataclass(frozen=True)
class Options:
    """Write the page of results from the files of figures that the benchmarks wrote.

    Attributes:
        folder: of the files, named after the benchmark: stream.json, stream_NAME.json, engines.json, …
        out: the page; its charts go into the folder.
        measure: measure stream, engines, scale, overlap and soak of vdpm-mini here first. Other files stay.
    """

    folder: Path = Path("docs/measurements")
    out: Path = Path("docs/performance.md")
    measure: bool = False


def main(argv: list[str]) -> int:
    """0."""
    options = parse(Options, "dpm bench report", argv)
    if options.measure:
        _measure(options.folder)
    page, charts = report(read(options.folder), options.folder.name)
    for name, chart in charts.items():
        _write(options.folder / name, chart)
    _write(options.out, page)
    Console(highlight=False).print(f"{options.out}, and {len(charts)} charts in {options.folder}", soft_wrap=True)
    return 0


def _measure(folder: Path) -> None:
    from .bench import main as bench

    folder.mkdir(parents=True, exist_ok=True)
    for name, arguments in MEASUREMENTS.items():
        bench([*arguments, "--json", str(folder / f"{name}.json")])


def read(folder: Path) -> dict[str, Any]:
    """Figures by the name of their file.

    Raises:
        DpmError: there are none, or a file holds no figures.
    """
    files = sorted(folder.glob("*.json")) if folder.is_dir() else []
    if not files:
        raise DpmError(f"{folder} holds no figures; make them with --measure, or give another --folder")
    figures = {}
    for file in files:
        kind = file.stem.split("_")[0]
        try:
            figures[file.stem] = json.loads(file.read_text())
        except (OSError, ValueError) as error:
            raise DpmError(f"{file} cannot be read as JSON ({error}); measure it anew") from error
        if kind not in SECTIONS or not isinstance(figures[file.stem], dict) or KEYS[kind] not in figures[file.stem]:
            raise DpmError(f"{file} holds no figures of `dpm bench {kind}`; measure it anew or take it away")
    return figures


def report(figures: Mapping[str, Any], folder: str) -> tuple[str, dict[str, str]]:
    """The page, and the charts by their file's name. folder: of the charts, from the page."""
    sections, charts = [HEAD], {}
    for kind, (heading, section) in SECTIONS.items():
        of_kind = {name: figure for name, figure in figures.items() if name.split("_")[0] == kind}
        if of_kind:
            sections.append(f"## {heading}\n")
        for name, figure in of_kind.items():
            text, drawn = section(figure)
            sections.append(text)
            for title, chart in drawn.items():
                file = f"{name}_{title}.svg" if title else f"{name}.svg"
                charts[file] = chart
                sections.append(f"![{name} {title}]({folder}/{file})\n".replace(" ]", "]"))
    return "\n".join(sections), charts


HEAD = """# Performance

Made by `dpm bench report` from the files of figures beside it; with `--measure` those of vdpm-mini are measured anew
first. Do not edit by hand. What the live path does, and how to plan for a computer: [capacity.md](capacity.md).

Figures of shared machines are worth little by themselves: compare within a table, whose rows were measured by turns in
one process. CPU time is that of all threads together, which other work on the machine disturbs less.

Rows of the first tables, by what somebody listens to: *depth* camera and depth alone; *+ cloud* every view fused now;
*+ motion* the newest frame's mask and scene flow, the map and the tracks; *+ cloud's motion* everything; *plain* all of
that the way the published code does it: every frame of every window encoded, every time decoded for every view. They
are eager torch in float32 where no engine is named; *exported* is ONNX Runtime in float32, *torch-bf16* has a bfloat16
trunk. Differences are the largest of all pixels and frames, see `dpm bench stream`.
"""


def _stream(figures: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
    options, ways = figures["options"], figures["paths"]
    head = ["a new frame", "encode, ms", "network", "the rest", "**plain / this**", "CPU time, ms"]
    head += ["**plain / this, CPU**", "MiB at most", "difference"]
    rows = [
        [
            way["name"],
            f"{1e3 * way['seconds'].get('encode', 0):.0f}",
            f"{1e3 * way['seconds']['predict']:.0f}",
            f"{1e3 * _rest(way['seconds']):.0f}",
            f"**{way['ratio']:.2f}**",
            f"{1e3 * way['processor_seconds']:.0f}",
            f"**{way['processor_ratio']:.2f}**",
            "–" if way["peak_bytes"] is None else f"{way['peak_bytes'] / 2**20:.0f}",
            f"{way['difference']:.0e}",
        ]
        for way in ways
    ]
    table = _table(head, rows)
    weights = "" if options["weights"] is None else f" ({Path(options['weights']).stem})"
    asked = f"{options['window']} frames of {options['size']}, stride 1"
    text = f"`{options['model']}`{weights}, {asked}. {_where(figures)}\n\n{table}\n"
    bars = {
        way["name"]: {stage: 1e3 * value for stage, value in way["seconds"].items() if stage != "total"} for way in ways
    }
    return text, {"": bar_chart(f"{options['model']}: a new frame", "ms", bars)}


def _rest(seconds: Mapping[str, float]) -> float:
    return seconds["total"] - seconds["predict"] - seconds.get("encode", 0.0)


def _engines(figures: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
    options = figures["options"]
    rows, bars = [], {}
    for engine in figures["engines"]:
        if engine["why_not"] is not None:
            rows.append([engine["backend"], f"not here: {engine['why_not']}", *[""] * 6])
            continue
        alone = engine["alone"]
        rows.append(
            [
                engine["backend"],
                f"{1e3 * engine['p50']:.0f}",
                f"{1e3 * engine['p95']:.0f}",
                f"{engine['ratio']:.2f}",
                f"{alone['open_seconds']:.1f}",
                f"{alone['first_seconds']:.2f}",
                "–" if alone["peak_bytes"] is None else f"{alone['peak_bytes'] / 2**20:.0f}",
                f"{engine['difference']:.0e}",
            ]
        )
        bars[engine["backend"]] = {"median": 1e3 * engine["p50"]}
    head = ["engine", "p50, ms", "p95", "torch / this", "open, s", "first, s", "MiB at most", "difference from torch"]
    text = (
        f"`{options['model']}`, {options['window']} frames of {options['size']}; an estimate with everything listened "
        f"to. Memory is the whole process's, Python and libraries included. {_where(figures)}\n\n{_table(head, rows)}\n"
    )
    return text, {"": bar_chart(f"{options['model']}: an estimate", "ms", bars)}


def _scale(figures: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
    options = figures["options"]
    gpu = figures["machine"]["gpu"]
    rows, charts = [], {}
    for growth in figures["growths"]:
        points = [(float(amount), 1e3 * seconds) for amount, seconds in growth["seconds"].items()]
        measured = ", ".join(f"{amount:g}: {milliseconds:.0f}" for amount, milliseconds in points)
        rows.append([growth["of"], measured, f"{growth['exponent']:.2f}", f"{growth['off_line']:.0%}"])
        title = f"{options['model']}: cost by {growth['of']}"
        charts[growth["of"].replace(" ", "_")] = line_chart(
            title, growth["of"], "ms" if gpu else "CPU ms", {options["model"]: points}
        )
    head = ["what grows", "ms" if gpu else "CPU ms", "exponent at the end", "off a straight line at most"]
    text = (
        f"`{options['model']}`, tokens of the frames given. Asked times: {options['window']} frames of "
        f"{options['size']}. Frames and pixels: one time is asked. {_where(figures)}\n\n{_table(head, rows)}\n"
    )
    return text, charts


def _overlap(figures: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
    options, ways = figures["options"], figures["ways"]
    head = [
        "a new frame, its files written",
        "ms",
        "**one after another / this**",
        "latency, ms",
        "page faults",
        "same bytes",
    ]
    rows = [
        [
            f"{way['name']}{' (chosen here)' if way['chosen'] else ''}",
            f"{1e3 * way['seconds']:.0f}",
            f"**{way['ratio']:.2f}**",
            f"{1e3 * way['latency']:.0f}",
            f"{way['page_faults']:.0f}",
            "yes" if way["same"] else "no",
        ]
        for way in ways
    ]
    asked = f"{options['window']} frames of {options['size']}"
    told = (
        f"`{options['model']}`, {asked}. *map beside*: while the network looks at a frame, the one before goes into "
        "the map and its files are written; *all beside*: the next one is read and prepared too, and waits. Latency is "
        "from reading to the last file. Chosen is what is best by these figures: by how many of the cores torch has "
        f"threads for. {_where(figures)}\n"
    )
    return f"{told}\n{_table(head, rows)}\n", {}


def _soak(figures: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
    options, soak = figures["options"], figures["soak"]
    held = [(float(windows), held / 2**20) for windows, held in soak["resident_bytes"].items()]
    text = (
        f"`{options['model']}`, {options['windows']} windows of {options['window']} frames of {options['size']}, "
        f"one session: {held[0][1]:.1f} MiB resident after {held[0][0]:.0f} windows, {held[-1][1]:.1f} MiB after "
        f"{held[-1][0]:.0f}; in the second half {soak['growth_bytes_per_window'] / 1024:+.2f} KiB a window. "
        f"{_where(figures)}\n"
    )
    return text, {"": line_chart("memory over windows", "windows", "MiB", {options["model"]: held})}


def _node(figures: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
    options, node = figures["options"], figures["node"]
    spreads = ("p50", "p95", "max")
    rows = [[stage, *(f"{spread[name]:.1f}" for name in spreads)] for stage, spread in node["stages"].items()]
    rows.append(["**beside the network**", f"**{node['beside the network']:.1f}**", "", ""])
    rows.append(["sent to heard by another process", *(f"{node['heard'][name]:.1f}" for name in spreads)])
    sent = sum(topic["bytes"] / topic["messages"] for topic in node["topics"].values()) / 1e6
    text = (
        f"{options['window']} frames of {options['size']}, a network that answers at once, images of 480x640, every "
        f"output subscribed: {sent:.1f} MB an image. Milliseconds. {_where(figures)}\n\n"
        f"{_table(['stage', *spreads], rows)}\n"
    )
    bars = {stage: {"median": spread["p50"]} for stage, spread in node["stages"].items()}
    return text, {"": bar_chart("the node beside its network", "ms", bars)}


SECTIONS = {
    "stream": ("Live against plain", _stream),
    "engines": ("Engines", _engines),
    "scale": ("Cost by size of the question", _scale),
    "overlap": ("Successive frames overlapped", _overlap),
    "soak": ("Memory over many windows", _soak),
    "node": ("The node beside its network", _node),
}
KEYS = {"stream": "paths", "engines": "engines", "scale": "growths", "overlap": "ways", "soak": "soak", "node": "node"}


def _where(figures: Mapping[str, Any]) -> str:
    return f"Measured on: {described(figures['machine'])}."


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as unfinished:
        unfinished.write_text(text)
