"""How far two files of logits are apart: Kullback-Leibler divergence of each position's distribution and top-1 agreement.

    python3 tests/truth/compare_logits.py TRUTH.npy OTHER.npy --max-kl 1e-5 --min-top1 0.995
"""
import argparse
import json
import sys

import numpy as np


def log_softmax(x):
    x = x.astype(np.float64)
    x = x - x.max(axis=-1, keepdims=True)
    return x - np.log(np.exp(x).sum(axis=-1, keepdims=True))


def compare(truth, other):
    if truth.shape != other.shape:
        raise SystemExit(f"shapes differ: {truth.shape} and {other.shape}")
    kl = []
    for a, b in zip(truth, other):
        p, q = log_softmax(a), log_softmax(b)
        kl.append(float(np.sum(np.exp(p) * (p - q))))
    same = truth.argmax(axis=-1) == other.argmax(axis=-1)
    return {"positions": len(kl), "mean_kl": float(np.mean(kl)), "max_kl": float(np.max(kl)), "top1": float(same.mean())}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("truth")
    parser.add_argument("other")
    parser.add_argument("--max-kl", type=float, help="fail where the mean is above")
    parser.add_argument("--min-top1", type=float, help="fail where the agreement is below")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    r = compare(np.load(args.truth, mmap_mode="r"), np.load(args.other, mmap_mode="r"))
    print(json.dumps(r) if args.json else
          f"{r['positions']} positions: mean KL {r['mean_kl']:.3g}, largest {r['max_kl']:.3g}, same top-1 {100 * r['top1']:.2f} %")
    bad = not np.isfinite(r["mean_kl"]) or (args.max_kl is not None and r["mean_kl"] > args.max_kl)
    sys.exit(bad or (args.min_top1 is not None and r["top1"] < args.min_top1))


if __name__ == "__main__":
    main()
