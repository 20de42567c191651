"""The number formats of GGUF files in NumPy: raw blocks to float32, and random valid blocks from a seed.

Each format is a structured dtype of one block and a function from blocks to values, every product and sum rounded to
float32 in the order in which ggml defines it: (scale of the group) * (small integer), then the minimum.
Layouts: https://github.com/ggml-org/ggml/blob/master/src/ggml-common.h (block_q4_0 and the following).

    python3 tests/truth/formats.py --write tests/data/formats.bin      # the records that the C++ test of the formats reads
"""
import argparse
import hashlib
from collections import namedtuple

import numpy as np

f32 = np.float32
curve = np.array([-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113], f32)  # of IQ4


def fields(data, bits, group):
    """Cuts bytes into fields of `bits` bits: of each run of `group` bytes all lowest fields first, then all the next."""
    runs = data.reshape(len(data), -1, 1, group)
    shifts = np.arange(0, 8, bits, dtype=np.uint8).reshape(-1, 1)
    return (runs >> shifts & np.uint8(2 ** bits - 1)).reshape(len(data), -1)


def bits32(data):
    """The 32 bits of four bytes, lowest first."""
    return np.unpackbits(np.ascontiguousarray(data), axis=1, bitorder="little")


def scale(block, name="d"):
    return block[name].astype(f32)[:, None]


def grouped(scales, values, minima=None):
    """scales[group] * value (- minima[group]), the groups being equal parts of a block."""
    v = values.astype(f32).reshape(*scales.shape, -1)
    out = scales[..., None] * v
    if minima is not None:
        out = out - minima[..., None]
    return out.reshape(len(v), -1)


def signed(values, offset):
    return values.astype(np.int16) - offset


def decode_q3_k(b):
    s = signed(fields(b["s"][:, :8], 4, 8) | fields(b["s"][:, 8:], 2, 4) << 4, 32)
    q = signed(fields(b["q"], 2, 32) | fields(b["h"], 1, 32) << 2, 4)
    return grouped(scale(b) * s.astype(f32), q)


def k_scales(s):
    """Eight scales and eight minima of 6 bits in 12 bytes: four bytes each hold the low ones, then their tops and nibbles."""
    low, high, rest = s[:, 0:4], s[:, 4:8], s[:, 8:12]
    scales = np.concatenate([low & 63, rest & 15 | low >> 6 << 4], axis=1)
    minima = np.concatenate([high & 63, rest >> 4 | high >> 6 << 4], axis=1)
    return scales.astype(f32), minima.astype(f32)


def decode_k(b, q):
    s, m = k_scales(b["s"])
    return grouped(scale(b) * s, q, scale(b, "m") * m)


def decode_iq4_xs(b):
    high = b["h"][:, None] >> np.arange(0, 16, 2, dtype=np.uint16) & 3
    s = signed(fields(b["l"], 4, 1) | high << 4, 32)
    return grouped(scale(b) * s.astype(f32), curve[fields(b["q"], 4, 16)])


def e4m3(bits):
    """E4M3 without infinities: 4 bits of exponent with a bias of 7, 3 of fraction; all ones are NaN."""
    exponent, fraction = bits >> 3 & 15, bits & 7
    size = np.where(exponent == 0, fraction * 2.0 ** -9, (8 + fraction) * 2.0 ** (exponent - 10.0))
    size[(bits & 0x7F) == 0x7F] = np.nan
    return np.copysign(size, np.where(bits & 0x80, -1.0, 1.0)).astype(f32)


d, m = ("d", "<f2"), ("m", "<f2")
wide_d, wide_m = ("d", "<f4"), ("m", "<f4")
# name: number in GGUF files (-1: none has it), block, numbers a block, decode, largest magnitude at d = 1, minimum of a centred block at d = 1
Format = namedtuple("Format", "gguf block n decode span middle")
formats = {
    "F32": Format(0, [("x", "<f4")], 1, lambda b: b["x"][:, None], 1, 0),
    "F16": Format(1, [("x", "<f2")], 1, lambda b: b["x"][:, None].astype(f32), 1, 0),
    "BF16": Format(30, [("x", "<u2")], 1, lambda b: (b["x"][:, None].astype("<u4") << 16).view("<f4"), 1, 0),
    "Q8_0": Format(8, [d, ("q", "i1", 32)], 32, lambda b: grouped(scale(b), b["q"]), 128, 0),
    "Q4_0": Format(2, [d, ("q", "u1", 16)], 32, lambda b: grouped(scale(b), signed(fields(b["q"], 4, 16), 8)), 8, 0),
    "Q4_1": Format(3, [d, m, ("q", "u1", 16)], 32,
                   lambda b: grouped(scale(b), fields(b["q"], 4, 16)) + scale(b, "m"), 7.5, -7.5),
    "Q5_0": Format(6, [d, ("h", "u1", 4), ("q", "u1", 16)], 32,
                   lambda b: grouped(scale(b), signed(fields(b["q"], 4, 16) | bits32(b["h"]) << 4, 16)), 16, 0),
    "Q5_1": Format(7, [d, m, ("h", "u1", 4), ("q", "u1", 16)], 32,
                   lambda b: grouped(scale(b), fields(b["q"], 4, 16) | bits32(b["h"]) << 4) + scale(b, "m"), 15.5, -15.5),
    "Q2_K": Format(10, [("s", "u1", 16), ("q", "u1", 64), d, m], 256,
                   lambda b: grouped(scale(b) * (b["s"] & 15).astype(f32), fields(b["q"], 2, 32),
                                     scale(b, "m") * (b["s"] >> 4).astype(f32)), 22.5, 1.5),
    "Q3_K": Format(11, [("h", "u1", 32), ("q", "u1", 64), ("s", "u1", 12), d], 256, decode_q3_k, 128, 0),
    "Q4_K": Format(12, [d, m, ("s", "u1", 12), ("q", "u1", 128)], 256,
                   lambda b: decode_k(b, fields(b["q"], 4, 32)), 63 * 7.5, 7.5),
    "Q5_K": Format(13, [d, m, ("s", "u1", 12), ("h", "u1", 32), ("q", "u1", 128)], 256,
                   lambda b: decode_k(b, fields(b["q"], 4, 32) | fields(b["h"], 1, 32) << 4), 63 * 15.5, 15.5),
    "Q6_K": Format(14, [("q", "u1", 128), ("h", "u1", 64), ("s", "i1", 16), d], 256,
                   lambda b: grouped(scale(b) * b["s"].astype(f32),
                                     signed(fields(b["q"], 4, 64) | fields(b["h"], 2, 32) << 4, 32)), 128 * 32, 0),
    "IQ4_NL": Format(20, [d, ("q", "u1", 16)], 32, lambda b: grouped(scale(b), curve[fields(b["q"], 4, 16)]), 127, 0),
    "IQ4_XS": Format(23, [d, ("h", "<u2"), ("l", "u1", 4), ("q", "u1", 128)], 256, decode_iq4_xs, 32 * 127, 0),
    "I8": Format(-1, [wide_d, ("q", "i1", 32)], 32, lambda b: grouped(scale(b), b["q"]), 128, 0),
    "U8": Format(-1, [wide_d, wide_m, ("q", "u1", 32)], 32, lambda b: grouped(scale(b), b["q"]) + scale(b, "m"), 127.5, -127.5),
    "E4M3": Format(-1, [wide_d, ("q", "u1", 32)], 32, lambda b: grouped(scale(b), e4m3(b["q"])), 448, 0),
}
by_number = {f.gguf: name for name, f in formats.items() if f.gguf >= 0}


def block_bytes(name):
    return np.dtype(formats[name].block).itemsize


def row_bytes(name, columns):
    assert columns % formats[name].n == 0, f"{name} holds no rows of {columns} numbers"
    return columns // formats[name].n * block_bytes(name)


def decode(name, raw, columns):
    """Raw bytes of whole rows to float32 [rows][columns]."""
    format = formats[name]
    return np.ascontiguousarray(format.decode(np.frombuffer(raw, format.block)), f32).reshape(-1, columns)


def random_bytes(seed, n):
    """n bytes that depend on the text `seed` alone, whatever the version of NumPy."""
    return np.frombuffer(hashlib.shake_256(seed.encode()).digest(n), np.uint8)


def random_blocks(name, seed, rows, columns):
    blocks = random_bytes(seed, rows * row_bytes(name, columns)).copy().view(formats[name].block)
    if name == "E4M3":
        blocks["q"][(blocks["q"] & 0x7F) == 0x7F] = 0  # NaN
    return blocks


def uniform(seed, *shape):
    """Float64 in [-1, 1), multiples of 2^-15."""
    n = int(np.prod(shape))
    return (random_bytes(seed, 2 * n).view("<i2") / 32768.0).reshape(shape)


def encode_float(name, values):
    """Values to the bytes of F32, F16 or BF16, to the nearest."""
    x = np.ascontiguousarray(values, "<f4")
    if name == "BF16":
        u = x.view("<u4")
        return (u + 0x7FFF + (u >> 16 & 1) >> 16).astype("<u2").tobytes()
    return x.astype({"F32": "<f4", "F16": "<f2"}[name]).tobytes()


def random_rows(name, seed, rows, columns, largest):
    """Bytes of rows whose values lie around 0 within about `largest`; each block has a scale of its own, of either sign."""
    format = formats[name]
    if format.n == 1:
        return encode_float(name, largest * uniform(seed, rows, columns))
    blocks = random_blocks(name, seed, rows, columns)
    step = uniform(seed + " scales", len(blocks))
    step = np.copysign(0.5 + 0.5 * abs(step), step) * largest / format.span
    blocks["d"] = step
    if format.middle:
        blocks["m"] = step * format.middle
    return blocks.tobytes()


def extreme_rows(name, seed, rows, columns):
    """As random_rows, but the floats in the blocks have any finite bits: zeros, subnormals, the largest."""
    blocks = random_blocks(name, seed, rows, columns)
    for field in {"d", "m", "x"} & set(blocks.dtype.names):
        if blocks[field].dtype.itemsize == 4:
            bits, exponent = blocks[field].view("<u4"), 0x7F800000
        else:
            bits, exponent = blocks[field].view("<u2"), 0x7F80 if name == "BF16" else 0x7C00
        bits[(bits & exponent) == exponent] ^= exponent  # infinities and NaN become zeros and subnormals
    return blocks.tobytes()


def write_records(path):
    """One record a format: a line "NAME GGUF_NUMBER ROWS COLUMNS RAW_BYTES\\n", the rows' raw bytes, then ROWS * COLUMNS
    expected values in little-endian float32. The last row has extreme scales."""
    rows, columns = 3, 512
    with open(path, "wb") as file:
        for name, format in formats.items():
            raw = random_rows(name, f"record {name}", rows - 1, columns, 1.0) + \
                extreme_rows(name, f"extreme {name}", 1, columns)
            file.write(f"{name} {format.gguf} {rows} {columns} {len(raw)}\n".encode())
            file.write(raw)
            with np.errstate(over="ignore"):
                file.write(decode(name, raw, columns).astype("<f4").tobytes())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", metavar="FILE", required=True, help="where the records go")
    write_records(parser.parse_args().write)
