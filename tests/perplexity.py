#!/usr/bin/env python3
"""alia perplexity on a real model: perplexity.py ALIA MODEL.gguf [--text FILE ...] [--context N] [--peer]

Perplexity equals a NumPy computation over what `alia logits` gives on the same chunks. Divergences equal those of compare_logits.py,
from references that this file writes in the format of docs/quality.md out of tests/truth/llama.py's logits. --peer compares with
llama.cpp on the same chunks through `llama-cpp-python` (PyPI)."""
import argparse
import json
import math
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

here = Path(__file__).resolve().parent
sys.path.insert(0, str(here / "truth"))
import compare_logits  # noqa: E402
import llama  # noqa: E402


def run(*command, code=0):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    if done.returncode != code:
        raise SystemExit(f"{command}: exit code {done.returncode}\n{done.stderr}")
    return done


def chunks_of(alia, model, path, context):
    """The chunks as the help of `alia perplexity` describes them."""
    def ids(*options):
        done = subprocess.run([alia, "tokenize", model, *options], input=path.read_bytes(), capture_output=True, check=True)
        return [int(i) for i in done.stdout.split()]
    plain, full = ids("--no-special"), ids()
    prefix = full[:len(full) - len(plain)]
    room = context - len(prefix)
    pieces = [prefix + plain[i:i + room] for i in range(0, len(plain), room)]
    return [piece for piece in pieces if len(piece) > 1]


def losses(logits, chunk):
    p = compare_logits.log_softmax(logits[:-1])
    return -p[np.arange(len(chunk) - 1), chunk[1:]]


class Reference:
    """A reference file in docs/quality.md's format, row by row."""

    def __init__(self, path, vocabulary, chunks):
        self.out = open(path, "wb")
        self.out.write(b"ALIALOGS" + struct.pack("<IIQ", 1, vocabulary, chunks))

    def write(self, chunk, rows):
        self.out.write(struct.pack("<Q", len(chunk)) + np.array(chunk, "<i4").tobytes())
        for row in rows[:-1].astype(np.float64):
            below = np.minimum(row.max() - row, 64)
            units = np.rint(below * 2 ** 19).astype(np.int64)
            fine = units < 10 * 2 ** 19
            coarse = np.where(fine, units >> 8, np.minimum(np.rint(below * 2 ** 11), 65535))
            self.out.write(struct.pack("<II", row.argmax(), fine.sum()) + coarse.astype("<u2").tobytes())
            self.out.write((units[fine] & 255).astype(np.uint8).tobytes())


class Distance:
    """compare_logits.py's figures over several chunks, of the positions that `alia perplexity` counts."""

    def __init__(self):
        self.parts = []

    def add(self, reference, other):
        self.parts.append(compare_logits.compare(reference[:-1], other[:-1]))

    def __getitem__(self, name):
        if name == "max_kl":
            return max(p[name] for p in self.parts)
        return sum(p["positions"] * p[name] for p in self.parts) / sum(p["positions"] for p in self.parts)


def peer_losses(model, chunks, context):
    from llama_cpp import Llama
    engine = Llama(str(model), n_ctx=context + 8, logits_all=True, n_threads=2, n_threads_batch=2, verbose=False)
    found = []
    for chunk in chunks:
        engine.reset()
        engine.eval(chunk)
        found.append(losses(np.array(engine.scores[:len(chunk)], np.float32), chunk))
    return np.concatenate(found)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("alia")
    parser.add_argument("model", type=Path)
    parser.add_argument("--text", type=Path, action="append")
    parser.add_argument("--context", type=int, default=256)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--peer", action="store_true")
    args = parser.parse_args()
    texts = args.text or [here / "data" / "quality" / f"{language}.txt" for language in ("es", "eu")]
    failures = 0

    def check(name, good, detail):
        nonlocal failures
        failures += not good
        print(f"{'passed' if good else 'FAILED'}: {name}: {detail}", flush=True)

    chunks = [chunks_of(args.alia, args.model, text, args.context) for text in texts]
    command = [args.alia, "perplexity", args.model, "--context", args.context, "--device", args.device, "--json",
               *(part for text in texts for part in ("--text", text))]
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)

        def logits_of(chunk):
            (folder / "ids").write_text(" ".join(map(str, chunk)))
            run(args.alia, "logits", args.model, "--ids", folder / "ids", "--out", folder / "out.npy", "--device", args.device)
            return np.load(folder / "out.npy")

        ours = [[logits_of(chunk) for chunk in text] for text in chunks]
        saved = folder / "saved.logits"
        result = json.loads(run(*command, "--save", saved).stdout)
        for text, pieces, logits, found in zip(texts, chunks, ours, result["texts"]):
            each = np.concatenate([losses(l, c) for l, c in zip(logits, pieces)])
            expected, error = math.exp(each.mean()), math.exp(each.mean()) * each.std(ddof=1) / math.sqrt(len(each))
            p = found["perplexity"]
            check(f"{text.name} against NumPy", found["positions"] == len(each) and abs(p["value"] / expected - 1) < 1e-6
                  and abs(p["error"] / error - 1) < 1e-2, f"{p['value']:.6f} and {expected:.6f}, {len(each)} positions")
        everything = np.concatenate([losses(l, c) for text, pieces in zip(ours, chunks) for l, c in zip(text, pieces)])
        check("all of them", abs(result["all"]["perplexity"]["value"] / math.exp(everything.mean()) - 1) < 1e-6,
              f"{result['all']['perplexity']['value']:.6f}")

        same = json.loads(run(*command, "--reference", saved).stdout)["all"]
        check("against itself", abs(same["kl_max"]) < 1e-8 and same["same_top"]["value"] == 1,
              f"largest KL {same['kl_max']:.1e}")

        flat, rows = [chunk for text in chunks for chunk in text], [logits for text in ours for logits in text]
        model = llama.load(str(args.model))
        shift = {"the truth": 0.0, "the truth moved by 0.5": 0.5}
        files = {name: folder / f"{i}.logits" for i, name in enumerate(shift)}
        references = {name: Reference(files[name], rows[0].shape[1], len(flat)) for name in shift}
        distances = {name: Distance() for name in shift}
        for chunk, logits in zip(flat, rows):
            truth = llama.forward(model, chunk)
            for name, size in shift.items():
                moved = truth + size * np.cos(np.arange(truth.shape[1]))
                references[name].write(chunk, moved)
                distances[name].add(moved, logits)
        for name, expected in distances.items():
            references[name].out.close()
            found = json.loads(run(*command, "--reference", files[name]).stdout)["all"]
            check(f"against {name}", abs(found["kl"]["value"] - expected["mean_kl"]) < 1e-6
                  and abs(found["kl_max"] - expected["max_kl"]) < 1e-6 and abs(found["same_top"]["value"] - expected["top1"]) < 1e-3,
                  f"mean KL {found['kl']['value']:.4e} and {expected['mean_kl']:.4e}, largest {found['kl_max']:.4e} and "
                  f"{expected['max_kl']:.4e}, same top {found['same_top']['value']:.4f} and {expected['top1']:.4f}")
    if args.peer:
        expected = math.exp(peer_losses(args.model, flat, args.context).mean())
        ratio = result["all"]["perplexity"]["value"] / expected - 1
        check("against llama.cpp", abs(ratio) < 5e-3, f"{result['all']['perplexity']['value']:.4f} and {expected:.4f}, {100 * ratio:+.2f} %")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
