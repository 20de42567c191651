"""Compares `alia logits` on a random BF16 model with independent implementations: of ALIA's shape made small with llama.py and,
where PyTorch and transformers are installed, with those too; of Salamandra-2b's whole shape with the latter alone, in single
precision (25 GB of memory, 5 GB of disk). Prints one JSON line for each comparison; fails where one is too far away. Reads
nothing from a network.

    python3 tests/truth/random_alia.py --alia build/gpu/bindings/cli/alia --device cuda:0 --dir /tmp/random-alia
    python3 tests/truth/random_alia.py --alia build/gpu/bindings/cli/alia --device cuda:0 --dir /tmp/random-2b --shape salamandra-2b
"""
import argparse
import json
import os
import subprocess
import sys

import numpy as np

import llama
import make_models
from compare_logits import compare

# Small: ALIA-40b's head size, eight query heads a KV head, FFN of three times the width, untied embeddings.
SHAPES = {
    "small": dict(hidden=2048, heads=16, kv=2, dim=128, ffn=6144, vocab=8192, layers=4, tied=False, eps=1e-5, base=10000.0),
    "salamandra-2b": dict(hidden=2048, heads=16, kv=16, dim=128, ffn=5440, vocab=256000, layers=24, tied=False, eps=1e-5,
                          base=10000.0),
}
# Nats, mean over the positions: products take operands, and the cache keeps K and V, in BF16. Six times the layers add up six
# times the rounding, whose square counts; the second figure is that bound and was not seen yet.
MAX_KL = {"small": 1e-3, "salamandra-2b": 1e-2}


def truths(shape, model, ids):
    if shape == "small":
        yield "llama.py (NumPy, double precision)", llama.forward(llama.load(model), ids)
    try:
        import torch
        import transformers
        from transformers_logits import logits
    except ImportError as e:
        if shape != "small":
            sys.exit(f"random_alia.py: {shape} is compared with transformers alone: {e}")
        print(f"random_alia.py: no comparison with transformers: {e}", file=sys.stderr)
        return
    precision = "double" if shape == "small" else "single"
    yield (f"transformers {transformers.__version__}, PyTorch {torch.__version__} ({precision} precision)",
           logits(model, ids, False, torch.float64 if shape == "small" else torch.float32))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--alia", required=True, help="the command line")
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--dir", required=True, help="folder for the model and the logits")
    parser.add_argument("--shape", choices=SHAPES, default="small")
    parser.add_argument("--positions", type=int, default=200)
    args = parser.parse_args()
    os.makedirs(args.dir, exist_ok=True)
    model, ids_file, ours_file = (os.path.join(args.dir, name) for name in ("model", "ids.txt", "ours.npy"))
    shape = SHAPES[args.shape]
    make_models.write_huggingface(model, shape, make_models.weights(shape), "BF16", extra={"max_position_embeddings": 4096})
    ids = [int(i) for i in np.random.default_rng(7).integers(3, shape["vocab"], args.positions)]
    with open(ids_file, "w") as f:
        f.write(" ".join(map(str, ids)))
    subprocess.run([args.alia, "logits", model, "--ids", ids_file, "--out", ours_file, "--device", args.device], check=True)
    ours, bad = np.load(ours_file), False
    for name, truth in truths(args.shape, model, ids):
        found = compare(truth, ours)
        bad |= not found["mean_kl"] <= MAX_KL[args.shape]
        print(json.dumps({"truth": name, "shape": args.shape, "device": args.device, **found,
                          "max_mean_kl": MAX_KL[args.shape]}), flush=True)
    sys.exit(bad)


if __name__ == "__main__":
    main()
