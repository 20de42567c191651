#!/usr/bin/env python3
"""Plots of measured speeds, as SVG.

    plots.py prompt   RUNS.jsonl... --out FILE.svg   prompt speed against the prompt's length     (from alia bench --json)
    plots.py context  RUNS.jsonl... --out FILE.svg   generation speed against the context         (from alia bench --json)
    plots.py threads  RUNS.jsonl... --out FILE.svg   speed of every measure against the threads   (from alia bench --json)
    plots.py peers    RUNS.jsonl... --out FILE.svg   libalia's speed as a multiple of the peer's  (from peers/compare.py)
    plots.py serve    RUNS.jsonl... --out FILE.svg   throughput against the clients at once       (from peers/serve.py)

Of lines that measure the same thing, the last one counts."""
import argparse
import json
import math
import statistics
from pathlib import Path
from xml.sax.saxutils import escape

SERVERS = {"alia": "alia.server", "engine": "libalia's engine", "peer": "llama_cpp.server"}
COLOURS = ["#1b6ca8", "#d1495b", "#3a7d44", "#8e5ea2", "#e08e0b", "#17807e", "#6b4c3b", "#555555"]
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 760, 420, 70, 190, 40, 50


def text(x, y, words, anchor="middle", more=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {more}>{escape(str(words))}</text>'


def document(parts, height=HEIGHT):
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" font-family="sans-serif" font-size="12">'
    return "\n".join([head, f'<rect width="{WIDTH}" height="{height}" fill="white"/>', *parts, "</svg>", ""])


def round_step(highest):
    """Of 1, 2 and 5 times a power of ten, the one that gives about five steps."""
    power = 10 ** math.floor(math.log10(highest / 5))
    return next(m * power for m in (1, 2, 5, 10) if highest / (m * power) <= 6)


def lines_chart(title, label, series, doubling):
    """series: name -> [(x, median, low, high)]. `doubling`: each step along x is a factor of two."""
    scale = (lambda v: math.log2(v)) if doubling else float
    places = sorted({x for points in series.values() for x, *_ in points})
    first, last = scale(places[0]), scale(places[-1])
    highest = max(high for points in series.values() for *_, high in points)
    step = round_step(highest)
    top = step * math.ceil(highest / step)

    def px(x):
        return LEFT + (scale(x) - first) / ((last - first) or 1) * (WIDTH - LEFT - RIGHT)

    def py(y):
        return HEIGHT - BOTTOM - y / top * (HEIGHT - TOP - BOTTOM)

    parts = [text(LEFT, 22, title, "start", 'font-size="15"'), text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 12, label),
             text(0, 0, "tokens/s", more=f'transform="translate(18 {HEIGHT / 2}) rotate(-90)"')]
    for i in range(round(top / step) + 1):
        y = py(i * step)
        parts += [f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>', text(LEFT - 6, y + 4, f"{i * step:g}", "end")]
    parts += [text(px(x), HEIGHT - BOTTOM + 18, x) for x in places]
    names = sorted(series, key=lambda name: -max(series[name])[1])  # the legend's order is that of the lines' right ends
    for i, name in enumerate(names):
        colour, points = COLOURS[i % len(COLOURS)], sorted(series[name])
        path = " ".join(f"{px(x):.1f},{py(y):.1f}" for x, y, *_ in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for x, y, low, high in points:
            parts += [f'<path d="M{px(x):.1f} {py(low):.1f}V{py(high):.1f}" stroke="{colour}"/>', f'<circle cx="{px(x):.1f}" cy="{py(y):.1f}" r="3" fill="{colour}"/>']
        row = TOP + 8 + 18 * i
        parts += [f'<path d="M{WIDTH - RIGHT + 12} {row}h16" stroke="{colour}" stroke-width="2"/>', text(WIDTH - RIGHT + 34, row + 4, name, "start")]
    return document(parts)


def bars_chart(title, rows, note):
    """rows: [(label, median, low, high)], with a line where the two are equal."""
    left, step, longest = 260, 22, max(1.2, max(high for *_, high in rows) * 1.05)
    height = TOP + step * len(rows) + 40

    def px(value):
        return left + value / longest * (WIDTH - left - 60)

    parts = [text(10, 22, title, "start", 'font-size="15"')]
    for i, (label, median, low, high) in enumerate(rows):
        y, colour = TOP + step * i, COLOURS[0] if median >= 1 else COLOURS[1]
        parts += [text(left - 8, y + 14, label, "end"), f'<rect x="{left}" y="{y + 3}" width="{px(median) - left:.1f}" height="{step - 7}" fill="{colour}"/>',
                  f'<path d="M{px(low):.1f} {y + step / 2}H{px(high):.1f}" stroke="black"/>', text(px(max(median, high)) + 6, y + 14, f"{median:.2f}", "start")]
    parts += [f'<path d="M{px(1):.1f} {TOP}V{TOP + step * len(rows)}" stroke="black" stroke-dasharray="4 3"/>', text(10, height - 12, note, "start")]
    return document(parts, height)


def read(files):
    return [json.loads(line) for file in files for line in file.read_text().splitlines() if line.strip()]


def series_of(runs, name, place):
    found = {}
    for r in runs:
        found.setdefault(name(r), {})[place(r)] = (r["median"], r["low"], r["high"])
    return {n: [(x, *values) for x, values in points.items()] for n, points in found.items()}


def file_and_threads(r):
    return Path(r["path"]).stem + (f", {r['threads']} thr." if r["threads"] else "")


def plot(kind, runs):
    if kind == "peers":
        rows = {(r["file"], r["measure"]): (f"{Path(r['file']).stem}, {r['measure']}", r["ratio"], min(r["ratios"]), max(r["ratios"])) for r in runs if "ratio" in r}
        peer, processor = runs[-1]["peer"]["name"], runs[-1]["machine"].get("Model name", "")
        note = f"Median of {statistics.median(len(r['ratios']) for r in runs):.0f} rounds, lowest to highest; {processor}, {runs[-1]['threads']} threads, {runs[-1]['date'][:10]}"
        return bars_chart(f"libalia's speed as a multiple of {peer}'s", list(rows.values()), note)
    if kind == "serve":
        series = {}
        runs = [r for r in runs if r["measure"] == "serve"]
        for r in runs:
            for name, rates in r["rates"].items():
                tokens = sorted(r["tokens"] * rate for rate in rates)
                series.setdefault(SERVERS[name], {})[r["clients"]] = (r["clients"], statistics.median(tokens), tokens[0], tokens[-1])
        return lines_chart(f"Answers of {runs[-1]['tokens']} tokens, streamed", "clients at once", {n: list(p.values()) for n, p in series.items()}, True)
    runs = [r for r in runs if "tokens_per_second" in r]
    if kind == "prompt":
        return lines_chart("Reading prompts", "tokens in the prompt", series_of([r for r in runs if r["measure"].startswith("prompt")], file_and_threads, lambda r: r["tokens"]), True)
    if kind == "context":
        return lines_chart("Generating", "tokens in the cache before", series_of([r for r in runs if r["measure"].startswith("generate")], file_and_threads, lambda r: r["context"]), False)
    return lines_chart("Threads", "threads", series_of(runs, lambda r: f"{Path(r['path']).stem}, {r['measure']}", lambda r: r["threads"]), False)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=("prompt", "context", "threads", "peers", "serve"))
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    o = parser.parse_args()
    o.out.write_text(plot(o.kind, read(o.runs)))


if __name__ == "__main__":
    main()
