#!/usr/bin/env python3
"""What each number format costs in each language: quality.py ALIA SOURCE [--out FILE.jsonl] [--plot FILE.svg]

Quantises SOURCE to every type, measures each with `alia perplexity` against SOURCE's own logits, and prints a table of KL divergence
and perplexity against bits a weight. --out keeps a JSON line for each type, --from draws from such lines without measuring."""
import argparse
import json
import math
import subprocess
import sys
import tempfile
from pathlib import Path

TEXTS = Path(__file__).resolve().parent.parent / "tests" / "data" / "quality"
TYPES = ["F16", "BF16", "Q8_0", "Q6_K", "Q5_1", "Q5_0", "Q5_K_M", "Q4_1", "Q4_0", "Q4_K_M"]
LANGUAGES = {"es": "Spanish", "ca": "Catalan", "gl": "Galician", "eu": "Basque", "en": "English"}


def alia(program, *arguments):
    done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"alia {' '.join(map(str, arguments))}\n{done.stderr}")
    return done.stdout


def measure(args):
    """One result a type, the source's own first."""
    texts = [part for language in LANGUAGES for part in ("--text", TEXTS / f"{language}.txt")]

    def perplexity(model, *options):
        found = json.loads(alia(args.alia, "perplexity", model, *texts, "--context", args.context, "--device", args.device,
                                *options, "--json"))
        return {Path(t.pop("text")).stem: t for t in [*found["texts"], found["all"]]}

    with tempfile.TemporaryDirectory(dir=args.scratch) as folder:
        reference, model = Path(folder) / "reference.logits", Path(folder) / "model.gguf"
        perplexity(args.source, "--save", reference)
        yield {"type": "source", "device": args.device, "quality": perplexity(args.source, "--reference", reference)}
        for kind in args.types:
            imatrix = ["--imatrix", args.imatrix] if args.imatrix else []
            report = json.loads(alia(args.alia, "quantize", args.source, model, "--type", kind, *imatrix, "--json"))
            yield {"type": kind, "device": args.device, "imatrix": bool(args.imatrix), "bits": report["bits_per_number"],
                   "formats": {f["format"]: f["bytes"] for f in report["formats"]}, "quality": perplexity(model, "--reference", reference)}


def table(results):
    yield "| type | bits a weight | " + " | ".join(f"KL {name}" for name in LANGUAGES) + " | KL all | 99.9 % | same top | perplexity |"
    yield "| --- |" + " ---: |" * (len(LANGUAGES) + 5)
    for r in sorted(results, key=lambda r: -r.get("bits", math.inf)):
        q = r["quality"]
        bits = f"{r['bits']:.2f}" if "bits" in r else ""
        kl = " | ".join(f"{q[name]['kl']['value']:.2g}" for name in LANGUAGES)
        a = q["all"]
        yield (f"| {r['type']} | {bits} | {kl} | {a['kl']['value']:.2g} ± {a['kl']['error']:.1g} | {a['kl_999']:.2g} | "
               f"{100 * a['same_top']['value']:.1f} % | {a['perplexity']['value']:.2f} |")


def plot(results):
    """KL, logarithmic, over bits a weight; a colour a language."""
    results = sorted((r for r in results if r.get("bits", 99) < 12), key=lambda r: r["bits"])
    width, height, left, right, top, bottom = 760, 440, 70, 110, 46, 50
    values = [r["quality"][name]["kl"]["value"] for r in results for name in LANGUAGES]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    first, last = math.floor(results[0]["bits"]), math.ceil(results[-1]["bits"])

    def x(bits):
        return left + (width - left - right) * (bits - first) / (last - first)

    def y(value):
        return top + (height - top - bottom) * (high - math.log10(value)) / (high - low)

    def text(px, py, words, anchor="middle", more=""):
        return f'<text x="{px:.1f}" y="{py:.1f}" text-anchor="{anchor}" {more}>{words}</text>'

    svg = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" font-size="12">',
           f'<rect width="{width}" height="{height}" fill="white"/>',
           text((left + width - right) / 2, height - 12, "bits a weight"),
           text(18, height / 2, "mean KL divergence from the source, nats", more=f'transform="rotate(-90 18 {height / 2})"')]
    for bits in range(first, last + 1):
        svg += [f'<path d="M{x(bits):.1f} {top}V{height - bottom}" stroke="#ddd"/>', text(x(bits), height - bottom + 18, bits)]
    for power in range(low, high + 1):
        svg += [f'<path d="M{left} {y(10 ** power):.1f}H{width - right}" stroke="#ddd"/>',
                text(left - 8, y(10 ** power) + 4, f'10<tspan dy="-5" font-size="9">{power}</tspan>', "end")]
    for i, r in enumerate(results):  # names above the plot, on two lines where they come close
        svg += [f'<path d="M{x(r["bits"]):.1f} {top}V{height - bottom}" stroke="#bbb" stroke-dasharray="2 3"/>',
                text(x(r["bits"]), top - 8 - 13 * (i % 3), r["type"], more='font-size="10"')]
    for i, (colour, (name, language)) in enumerate(zip(("#c1121f", "#e08e00", "#1b7f5a", "#5a3fb0", "#0a6fb5"), LANGUAGES.items())):
        points = [(x(r["bits"]), y(r["quality"][name]["kl"]["value"])) for r in results]
        key = (width - right + 16, top + 10 + 20 * i)
        svg += [f'<circle cx="{px:.1f}" cy="{py:.1f}" r="3.5" fill="{colour}" fill-opacity="0.8"/>' for px, py in [*points, key]]
        svg.append(text(key[0] + 10, key[1] + 4, language, "start"))
    return "\n".join(svg + ["</svg>", ""])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("alia", nargs="?")
    parser.add_argument("source", nargs="?", help="the model in its best format")
    parser.add_argument("--types", type=lambda s: s.split(","), default=TYPES)
    parser.add_argument("--imatrix", help="importance matrix for every type")
    parser.add_argument("--context", type=int, default=512)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--scratch", help="folder for the models, which come one after another")
    parser.add_argument("--from", dest="lines", help="results of an earlier run")
    parser.add_argument("--out", help="file for the results, a JSON line each")
    parser.add_argument("--plot", help="file for the plot, SVG")
    args = parser.parse_args()
    results = []
    if args.lines:
        results = [json.loads(line) for line in open(args.lines)]
    elif args.source:
        out = open(args.out, "w") if args.out else None
        for r in measure(args):
            results.append(r)
            print(f"{r['type']}: mean KL {r['quality']['all']['kl']['value']:.3g}", file=sys.stderr, flush=True)
            if out:
                print(json.dumps(r), file=out, flush=True)
    else:
        parser.error("ALIA and SOURCE, or --from, are needed")
    print("\n".join(table(results)))
    if args.plot:
        Path(args.plot).write_text(plot(results))


if __name__ == "__main__":
    main()
