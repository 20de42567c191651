#!/usr/bin/env python3
"""libalia beside llama.cpp on the same files, threads and lengths, in turn: medians of the ratios of speed.

    peers/bin/python benchmarks/peers/compare.py build/release/capi/libalia.so salamandra-2b.Q4_0.gguf --out runs.jsonl

README.md says how the peer is installed. Each engine lives in a process of its own with the model loaded, and sleeps while the
other is timed. A round measures every length on both, the order changing from round to round, and the machine's roofs. A ratio
belongs to one round; their median is what counts. llama.cpp may run with and without flash attention: whichever was faster in
the warm-up is the one that is compared, for every length by itself."""
import argparse
import datetime
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

FOLDER = Path(__file__).resolve().parent


class Engine:
    def __init__(self, options):
        self.process = subprocess.Popen([sys.executable, FOLDER / "worker.py"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.facts = self.ask(options)

    def ask(self, command):
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        value = json.loads(line) if line else {"error": f"its process ended with code {self.process.wait()}"}
        if "error" in value:
            sys.exit(f"compare.py: {value['error']}")
        return value

    def time(self, what, tokens, variant):
        time.sleep(0.05)  # the other engine's threads stop spinning
        return self.ask({"do": what, "tokens": tokens, "variant": variant})["seconds"]

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def note(text):
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def machine():
    wanted = ("Model name", "CPU(s)", "Thread(s) per core", "L1d cache", "L2 cache", "L3 cache", "Hypervisor vendor")
    rows = json.loads(subprocess.run(["lscpu", "-J"], capture_output=True, text=True, check=True).stdout)["lscpu"]
    facts = {row["field"].rstrip(":"): row["data"] for row in rows}
    flags = [f for f in facts.get("Flags", "").split() if f.startswith(("avx", "amx", "f16c", "fma", "sse4"))]
    return {**{key: facts[key] for key in wanted if key in facts}, "flags": " ".join(flags)}


def commit():
    done = subprocess.run(["git", "-C", FOLDER, "describe", "--always", "--dirty", "--exclude", "*"], capture_output=True, text=True)
    return done.stdout.strip() or None


def measures(o):
    listed = [("prompt", o.prompt), ("generate", o.generate)]
    return [m for m in listed if m[1]] + ([("generate_on", o.generate)] if o.context else [])


def label(what, o):
    return {"prompt": f"prompt {o.prompt}", "generate": f"generate {o.generate}", "generate_on": f"generate {o.generate} after {o.context}"}[what]


def warm_up(engine, o):
    """Fills the long cache, runs everything twice, and chooses the variant of each measure."""
    variants, chosen = engine.facts["variants"], {}
    for variant in variants if o.context else []:
        note(f"{engine.facts['name']}: filling {o.context} positions {variant}")
        engine.time("fill", o.context, variant)
    for what, tokens in measures(o):
        note(f"{engine.facts['name']}: warm-up, {label(what, o)}")
        seconds = {v: min(engine.time(what, tokens, v) for _ in range(2)) for v in variants}
        chosen[what] = min(seconds, key=seconds.get)
    return chosen


def compare(file, o):
    long = o.context + o.generate * (o.rounds + 2) if o.context else 0
    options = {"file": str(file), "threads": o.threads, "short": max(o.prompt, o.generate + 1), "long": long, "library": o.library,
               "device": o.device, "flash": o.flash, "peer_load": o.peer_load}
    engines = {}
    for name in ("alia", "peer"):
        note(f"{file}: loading into {name}")
        engines[name] = Engine({**options, "engine": name})
    chosen = {name: warm_up(engine, o) for name, engine in engines.items()}
    speeds = {what: {"alia": [], "peer": []} for what, _ in measures(o)}
    roofs = []
    for number in range(o.rounds):
        note(f"{file}: round {number + 1} of {o.rounds}")
        if not o.no_roofs:
            roofs.append(engines["alia"].ask({"do": "roofs"}))
        for what, tokens in measures(o):
            for name in sorted(engines, reverse=number % 2 == 1):
                speeds[what][name].append(tokens / engines[name].time(what, tokens, chosen[name][what]))
    reads = engines["alia"].ask({"do": "read_bytes"})
    note("")
    for engine in engines.values():
        engine.close()
    return [result(file, what, o, engines, chosen, speeds[what], roofs, reads) for what, _ in measures(o)]


def result(file, what, o, engines, chosen, speeds, roofs, reads):
    ratios = [a / b for a, b in zip(speeds["alia"], speeds["peer"])]
    line = {"date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"), "commit": commit(), "file": file.name,
            "file_bytes": file.stat().st_size, "measure": label(what, o), "threads": o.threads, "ratio": statistics.median(ratios), "ratios": ratios}
    for name, engine in engines.items():
        facts = {key: engine.facts[key] for key in ("name", "load_seconds", "peak_bytes")}
        line[name] = {**facts, "variant": chosen[name][what], "tokens_per_second": speeds[name], "median": statistics.median(speeds[name])}
    if roofs:
        line["roofs"] = roofs
        if what != "prompt":
            first = o.context if what == "generate_on" else 1
            line["token_bytes"] = reads["weights"] + reads["position"] * (first + o.generate / 2)
            for name in engines:
                line[name]["read_share"] = statistics.median(s * line["token_bytes"] / r["read"] for s, r in zip(speeds[name], roofs))
    return {**line, "machine": machine()}


def show(lines):
    print(f"\n{lines[0]['file']}, {lines[0]['threads']} threads: {lines[0]['alia']['name']} beside {lines[0]['peer']['name']}")
    print(f"{'':24}{'libalia':>10}{'peer':>10}  tokens/s{'ratio':>8}   (lowest, highest)   of the read roof: libalia, peer")
    for x in lines:
        shares = "".join(f"{x[n]['read_share']:8.2f}" for n in ("alia", "peer") if "read_share" in x[n])
        print(f"{x['measure']:24}{x['alia']['median']:10.2f}{x['peer']['median']:10.2f}{'':10}{x['ratio']:8.3f}   "
              f"({min(x['ratios']):.3f}, {max(x['ratios']):.3f}) {x['peer']['variant']:>8}{shares}")
    loads = ", ".join(f"{n} {lines[0][n]['load_seconds']:.2f} s, peak {lines[0][n]['peak_bytes'] / 2**30:.2f} GiB" for n in ("alia", "peer"))
    print(f"load: {loads}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("library", help="libalia.so")
    parser.add_argument("files", nargs="+", type=Path, help="GGUF files")
    parser.add_argument("--out", type=Path, help="append the results as JSON lines")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--prompt", type=int, default=512, help="tokens of a prompt (0: leave it out)")
    parser.add_argument("--generate", type=int, default=64)
    parser.add_argument("--context", type=int, default=4000, help="generate also after so many tokens (0: leave it out)")
    parser.add_argument("--device", default="", help="libalia's device")
    parser.add_argument("--flash", choices=("best", "flash", "plain"), default="best", help="llama.cpp's attention")
    parser.add_argument("--peer-load", choices=("none", "mmap"), default="none", help="how llama.cpp loads")
    parser.add_argument("--no-roofs", action="store_true", help="do not measure the machine's roofs")
    o = parser.parse_args()
    o.library = str(Path(o.library).resolve())
    for file in o.files:
        lines = compare(file, o)
        show(lines)
        if o.out:
            with o.out.open("a") as out:
                out.writelines(json.dumps(line) + "\n" for line in lines)


if __name__ == "__main__":
    main()
