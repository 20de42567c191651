"""Checks formats.py against ggml's own Python package on random blocks, and E4M3 against PyTorch, bit for bit. Needs PyPI's
`gguf` and `torch`.

    python check_formats.py --rows 200
"""
import argparse
import sys

import gguf
import numpy as np
import torch

import formats


def check_e4m3():
    """The number of bytes that differ; a NaN equals any other."""
    bits = np.arange(256, dtype=np.uint8)
    ours, theirs = formats.e4m3(bits), torch.from_numpy(bits).view(torch.float8_e4m3fn).float().numpy()
    different = int(np.count_nonzero((ours.view(np.uint32) != theirs.view(np.uint32)) & ~(np.isnan(ours) & np.isnan(theirs))))
    print(f"E4M3 bytes: {different} of 256 differ")
    return different


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100, help="random rows of 512 numbers a format (default %(default)s)")
    rows, columns, bad = parser.parse_args().rows, 512, check_e4m3()
    for name, format in formats.formats.items():
        if format.gguf < 0:
            continue
        kind = gguf.GGMLQuantizationType[name]
        same_table = (int(kind), *gguf.GGML_QUANT_SIZES[kind]) == (format.gguf, format.n, formats.block_bytes(name))
        raw = formats.random_rows(name, f"check {name}", rows, columns, 1.0) + \
            formats.extreme_rows(name, f"check extreme {name}", rows, columns)
        ours = formats.decode(name, raw, columns)
        theirs = gguf.quants.dequantize(np.frombuffer(raw, np.uint8).reshape(2 * rows, -1), kind)
        different = int(np.count_nonzero(ours.view(np.uint32) != np.ascontiguousarray(theirs).view(np.uint32)))
        bad += different + (not same_table)
        print(f"{name:7} {ours.size} values, {different} differ, sizes {'agree' if same_table else 'DIFFER'}, "
              f"|x| <= {abs(ours[:rows]).max():.3f}, deviation {ours[:rows].std():.3f}")
    return bad != 0


if __name__ == "__main__":
    sys.exit(main())
