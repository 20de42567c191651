"""The importance matrix of token ids by the NumPy forward pass of llama.py, in llama.cpp's file format; and how far two are apart.

    python3 tests/truth/imatrix.py MODEL --ids FILE [--cut N] --out OUT.gguf
    python3 tests/truth/imatrix.py MODEL --ids FILE [--cut N] --compare OTHER.gguf

--cut reads the ids in sequences of N tokens, each by itself. tests/data/imatrix.gguf is `tests/data/models/odd` with --cut 25.
"""
import argparse
import sys

import numpy as np

import gguf_file
import llama

NAMES = {"q": "attn_q", "k": "attn_k", "v": "attn_v", "o": "attn_output", "gate": "ffn_gate", "up": "ffn_up", "down": "ffn_down"}


def measure(model, sequences):
    """name -> [sums of squares, tokens]"""
    found = {}
    tied = model[1]["head"] is model[1]["embed"]

    def see(layer, names, x):
        for name in names:
            full = ("token_embd.weight" if tied else "output.weight") if layer is None else f"blk.{layer}.{NAMES[name]}.weight"
            sums = found.setdefault(full, [np.zeros(x.shape[1]), 0])
            sums[0] += (x ** 2).sum(axis=0)
            sums[1] += len(x)
    for ids in sequences:
        llama.forward(model, ids, see)
    return found


def write(path, found, sequences):
    metadata = [("general.type", gguf_file.STRING, "imatrix"), ("imatrix.datasets", gguf_file.ARRAY, (gguf_file.STRING, ["ids"])),
                ("imatrix.chunk_count", gguf_file.U32, len(sequences)), ("imatrix.chunk_size", gguf_file.U32, max(map(len, sequences)))]
    tensors = []
    for name, (sums, tokens) in found.items():
        tensors.append((name + ".in_sum2", "F32", [len(sums)], sums.astype("<f4").tobytes()))
        tensors.append((name + ".counts", "F32", [1], np.array([tokens], "<f4").tobytes()))
    gguf_file.write(path, metadata, tensors)


def compare(found, path):
    """The largest difference of a column's sum over it; of the other file's matrices, all that are there."""
    other, worst, matrices = gguf_file.Reader(path), 0.0, 0
    assert other.metadata["general.type"] == "imatrix" and other.metadata["imatrix.datasets"], path
    for name, (sums, tokens) in found.items():
        if name + ".in_sum2" not in other.tensors:
            assert not name.startswith("blk."), f"{path} has no {name}"
            continue
        assert other.array(name + ".counts").tolist() == [tokens], name
        worst = max(worst, float(np.max(np.abs(other.array(name + ".in_sum2") / sums - 1))))
        matrices += 1
    assert len(other.tensors) == 2 * matrices, "tensors of another kind"
    return worst


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--ids", required=True, help="file of token ids parted by white space")
    parser.add_argument("--cut", type=int, default=512)
    parser.add_argument("--out")
    parser.add_argument("--compare")
    parser.add_argument("--limit", type=float, default=1e-4)
    args = parser.parse_args()
    ids = [int(i) for i in open(args.ids).read().split()]
    sequences = [ids[i:i + args.cut] for i in range(0, len(ids), args.cut)]
    found = measure(llama.load(args.model), sequences)
    if args.out:
        write(args.out, found, sequences)
    if args.compare:
        worst = compare(found, args.compare)
        print(f"{len(found)} matrices, largest relative difference {worst:.2e}")
        sys.exit(not worst < args.limit)


if __name__ == "__main__":
    main()
