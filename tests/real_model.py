#!/usr/bin/env python3
"""The real model: real_model.py ALIA SMOLLM2.gguf [--positions N]

SmolLM2 answers as another engine does on the same file, greedily, on each backend; and the logits of each, teacher-forced over
tests/data/smollm2.ids.txt, lie within the bounds below of a double-precision NumPy pass over the dequantised weights. The CPU's tables
keep activations in 8 bits beside quantised weights; on the same weights as F32 they come as near as floats do."""
import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

here = Path(__file__).resolve().parent
sys.path.insert(0, str(here / "truth"))
import compare_logits  # noqa: E402
import llama  # noqa: E402

# File, device: largest mean KL in nats, smallest share of equal best tokens.
BOUNDS = {("q4_1", "ref"): (1e-8, 1), ("q4_1", "cpu:base"): (4e-3, 0.95), ("q4_1", "cpu:avx2"): (4e-3, 0.95), ("q4_1", "cpu"): (4e-3, 0.95),
          ("f32", "cpu:base"): (1e-6, 0.995), ("f32", "cpu"): (1e-6, 0.995)}
QUESTION = "What is the capital of Spain?"
ANSWER = "The capital of Spain is Madrid."


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("alia")
    parser.add_argument("model")
    parser.add_argument("--positions", type=int, default=1000)
    args = parser.parse_args()
    failures = 0

    def check(name, good, detail):
        nonlocal failures
        failures += not good
        print(f"{'passed' if good else 'FAILED'}: {name}: {detail}", flush=True)

    for device in dict.fromkeys(device for _, device in BOUNDS):
        out = subprocess.run([args.alia, "run", args.model, QUESTION, "--system", "Answer in one sentence.", "--device", device],
                             capture_output=True, text=True)
        check(f"{device} answers", out.stdout.strip() == ANSWER, repr(out.stdout.strip() or out.stderr))

    ids = [int(i) for i in (here / "data" / "smollm2.ids.txt").read_text().split()][:args.positions]
    with tempfile.TemporaryDirectory() as folder:
        ids_file = Path(folder) / "ids.txt"
        ids_file.write_text(" ".join(map(str, ids)))
        truth = llama.forward(llama.load(args.model), ids)
        files = {"q4_1": args.model, "f32": Path(folder) / "f32.gguf"}
        subprocess.run([args.alia, "quantize", args.model, files["f32"], "--type", "F32"], check=True, capture_output=True)
        for (name, device), (most_kl, least_top1) in BOUNDS.items():
            out = Path(folder) / f"{name}-{device.replace(':', '-')}.npy"
            subprocess.run([args.alia, "logits", files[name], "--ids", ids_file, "--out", out, "--device", device], check=True)
            r = compare_logits.compare(truth, np.load(out, mmap_mode="r"))
            check(f"{name} on {device} against NumPy", r["mean_kl"] < most_kl and r["top1"] >= least_top1,
                  f"{r['positions']} positions, mean KL {r['mean_kl']:.2e}, largest {r['max_kl']:.2e}, top-1 {100 * r['top1']:.2f} %")
        wrong = truth + 1e-2 * np.cos(np.arange(truth.shape[1]))
        check("the comparison can fail", compare_logits.compare(truth, wrong)["mean_kl"] > BOUNDS["f32", "cpu"][0], "logits moved by 0.01")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
