"""Writes tiny models with quantised weights from a fixed seed, and what they must give.

    python3 tests/truth/make_quantised.py tests/data/quantised

For each model NAME of manifest.txt, one a line: NAME/ (a Hugging Face directory), NAME/weights.txt (MODULE ROWS COLUMNS FORMAT
CRC32 of the float32 weights, -0 as 0, FORMAT being the engine's), NAME/ids.txt and NAME/logits.npy by llama.py.
"""
import json
import os
import struct
import sys
import zlib

import numpy as np

import formats
import llama
import make_models
import quantised

SMALL = dict(hidden=64, heads=4, kv=2, dim=16, ffn=128, vocab=40, layers=1, tied=False, eps=1e-5, base=10000.0)
WIDE = dict(SMALL, hidden=128, heads=8, ffn=256)
POSITIONS = 24

rng = np.random.default_rng(4)


def words(codes, bits, axis):
    """Unsigned codes to 32-bit words, the first in the lowest bits."""
    codes = np.moveaxis(codes.astype(np.uint64), axis, -1)
    parts = codes.reshape(*codes.shape[:-1], -1, 32 // bits) << np.arange(0, 32, bits, dtype=np.uint64)
    return np.moveaxis(parts.sum(axis=-1).astype(np.uint32), -1, axis).view(np.int32)


def random_scales(kind, shape, middle):
    """Around `middle`, of either sign, one 0 and one tiny; as stored and as float32."""
    d = middle * rng.uniform(0.5, 1.5, shape) * rng.choice([-1, 1], shape)
    if d.size > 8:
        d.flat[3], d.flat[5] = 0, 2.0 ** -17
    raw = formats.encode_float(kind, d.astype(np.float32))
    return (kind, shape, raw), formats.decode(kind, np.frombuffer(raw, np.uint8), 1).reshape(shape)


class Matrix:
    """Random codes in [0, 2^bits), zero points and scales of a matrix, each [rows][..], and its groups."""

    def __init__(self, rows, columns, bits, group, symmetric, scales, ordered=False, zeros=None, per_tensor=False):
        self.rows, self.columns, self.bits = rows, columns, bits
        self.group = group if group > 0 else columns
        self.groups = columns // self.group
        low, high = zeros or (0, 2 ** bits)
        shape = (rows, self.groups)
        self.codes = rng.integers(0, 2 ** bits, (rows, columns))
        self.zeros = np.full(shape, 2 ** (bits - 1)) if symmetric else rng.integers(low, high, shape)
        middle = 1.5 / np.sqrt(columns) / 2 ** bits * 3.4
        self.stored_scales, self.scales = random_scales(scales, (1,) if per_tensor else shape, middle)
        self.group_of = np.arange(columns) // self.group
        if ordered:
            rng.shuffle(self.group_of)

    def weight(self):
        scales = np.broadcast_to(self.scales.reshape(-1, self.scales.shape[-1]), (self.rows, self.groups))
        return scales[:, self.group_of] * (self.codes - self.zeros[:, self.group_of]).astype(np.float32)


def array(kind, x):
    return kind, x.shape, np.ascontiguousarray(x).tobytes()


def gptq_parts(m, version, biases):
    kind, shape, _ = m.stored_scales
    parts = {"qweight": array("I32", words(m.codes.T, m.bits, 0)),
             "qzeros": array("I32", words(m.zeros.T - (version == 1), m.bits, 1)),
             "scales": (kind, shape[::-1], formats.encode_float(kind, m.scales.T)),
             "g_idx": array("I32", m.group_of.astype(np.int32))}
    if biases:
        parts["bias"] = ("F16", (m.rows,), bytes(2 * m.rows))
    return parts


def packed_parts(m, symmetric, ordered, zeros_kind):
    centre = 2 ** (m.bits - 1)
    parts = {"weight_packed": array("I32", words(m.codes, m.bits, 1)), "weight_scale": m.stored_scales,
             "weight_shape": array("I64", np.array([m.rows, m.columns]))}
    if zeros_kind == "I8":
        parts["weight_zero_point"] = array("I8", (m.zeros - centre).astype(np.int8))
    elif not symmetric:
        padded = np.vstack([m.zeros, np.zeros((-m.rows % (32 // m.bits), m.groups), int)])
        parts["weight_zero_point"] = array("I32", words(padded, m.bits, 0))
    if ordered:
        parts["weight_g_idx"] = array("I32", m.group_of.astype(np.int32))
    return parts


def bytes_parts(m, symmetric):
    parts = {"weight": array("I8", (m.codes - 128).astype(np.int8)), "weight_scale": m.stored_scales}
    if not symmetric:
        parts["weight_zero_point"] = array("I8", (m.zeros - 128).astype(np.int8))
    return parts


def float_parts(rows, columns, scales, per_tensor):
    codes = rng.integers(0, 256, (rows, columns)).astype(np.uint8)
    codes[(codes & 0x7F) == 0x7F] = 0x7E
    stored, d = random_scales(scales, (1,) if per_tensor else (rows, 1), 1.5 / np.sqrt(columns) / 120)
    parts = {"weight": array("F8_E4M3", codes), "weight_scale": stored}
    if per_tensor:
        parts["input_scale"] = ("F32", (), struct.pack("<f", 0.5))
    return parts, formats.e4m3(codes) * d


def gptq_config(bits, group, symmetric, ordered, version):
    config = {"quant_method": "gptq", "bits": bits, "group_size": group, "sym": symmetric, "desc_act": ordered,
              "damp_percent": 0.01, "static_groups": False, "true_sequential": True, "lm_head": False}
    return {"quantization_config": dict(config, **({"checkpoint_format": "gptq_v2"} if version == 2 else {}))}


def compressed_config(format, bits, group, symmetric, kind="int", actorder=None, key="quantization_config"):
    strategy = {0: "tensor", -1: "channel"}.get(group, "group")
    weights = {"num_bits": bits, "type": kind, "symmetric": symmetric, "strategy": strategy, "actorder": actorder,
               "group_size": group if group > 0 else None, "dynamic": False, "observer": "minmax"}
    scheme = {"targets": ["Linear"], "weights": weights, "input_activations": None, "output_activations": None}
    return {key: {"config_groups": {"group_0": scheme}, "format": format, "ignore": ["lm_head"], "kv_cache_scheme": None,
                  "quant_method": "compressed-tensors", "quantization_status": "compressed", "sparsity_config": {},
                  "global_compression_ratio": 1.5}}


def gptq_model(bits, group, symmetric, scales="F16", ordered=False, version=1, biases=False, c=SMALL):
    # Version 1 stores z - 1.
    zeros = (1, 2 ** bits + 1) if version == 1 else (0, 2 ** bits)

    def module(_, rows, columns):
        m = Matrix(rows, columns, bits, group, symmetric, scales, ordered, zeros)
        kind = {4: "Q4_0" if symmetric else "Q5_0", 8: "I8" if symmetric else "U8"}[bits]
        return gptq_parts(m, version, biases), m.weight(), kind
    return c, gptq_config(bits, group, symmetric, ordered, version), module


def packed_model(bits, group, symmetric, scales="BF16", ordered=False, zeros_kind=None):
    def module(_, rows, columns):
        m = Matrix(rows, columns, bits, group, symmetric, scales, ordered)
        wide = "I8" if symmetric else "U8"
        kind = wide if bits == 8 else "I8" if scales == "F32" else "Q4_0" if symmetric else "Q5_0"
        return packed_parts(m, symmetric, ordered, zeros_kind), m.weight(), kind
    config = compressed_config("pack-quantized", bits, group, symmetric, actorder="group" if ordered else None)
    return SMALL, config, module


def bytes_model(group, symmetric, scales="BF16"):
    def module(_, rows, columns):
        m = Matrix(rows, columns, 8, group, symmetric, scales)
        return bytes_parts(m, symmetric), m.weight(), "I8" if symmetric else "U8"
    config = compressed_config("int-quantized", 8, group, symmetric)
    config["quantization_config"]["config_groups"]["group_0"]["input_activations"] = {
        "num_bits": 8, "type": "int", "symmetric": True, "strategy": "token", "dynamic": True}
    return SMALL, config, module


def float_model(group, scales, key):
    def module(_, rows, columns):
        return *float_parts(rows, columns, scales, group == 0), "E4M3"
    return SMALL, compressed_config("float-quantized", 8, group, True, "float", key=key), module


def mixed_model():
    """Attention in 8 bits, but for o in 16; the rest in 4 bits. Settings wrapped twice, as some versions do."""
    def module(name, rows, columns):
        if "o_proj" in name:
            return None
        if "self_attn" in name:
            m = Matrix(rows, columns, 8, -1, True, "F32")
            return bytes_parts(m, True), m.weight(), "I8"
        m = Matrix(rows, columns, 4, 32, True, "BF16")
        return packed_parts(m, True, False, "I8"), m.weight(), "Q4_0"  # zero points of zeros, as older versions write
    config = compressed_config("mixed-precision", 4, 32, True)["quantization_config"]
    other = compressed_config("int-quantized", 8, -1, True)["quantization_config"]["config_groups"]["group_0"]
    config["config_groups"]["group_1"] = dict(other, targets=["re:.*self_attn.*"], format="int-quantized")
    return SMALL, {"quantization_config": {"quant_method": "compressed-tensors", "quantization_config": config}}, module


MODELS = {
    "fp8-channel": lambda: float_model(-1, "BF16", "quantization_config"),
    "fp8-tensor": lambda: float_model(0, "F32", "compression_config"),
    "gptq-4-32": lambda: gptq_model(4, 32, True, biases=True),
    "gptq-4-64-zeros": lambda: gptq_model(4, 64, False, "BF16"),
    "gptq-4-32-order-v2": lambda: gptq_model(4, 32, False, ordered=True, version=2),
    "gptq-4-128-order": lambda: gptq_model(4, 128, True, ordered=True, c=WIDE),
    "gptq-8-row": lambda: gptq_model(8, -1, True),
    "gptq-8-32-zeros": lambda: gptq_model(8, 32, False, ordered=True),
    "packed-4-32": lambda: packed_model(4, 32, True),
    "packed-4-32-zeros": lambda: packed_model(4, 32, False, "F16"),
    "packed-4-row-zeros": lambda: packed_model(4, -1, False, "F32", zeros_kind="I8"),
    "packed-4-32-order": lambda: packed_model(4, 32, True, ordered=True),
    "packed-8-row": lambda: packed_model(8, -1, True),
    "packed-8-32-zeros": lambda: packed_model(8, 32, False),
    "int8-row": lambda: bytes_model(-1, True),
    "int8-row-zeros": lambda: bytes_model(-1, False),
    "mixed": mixed_model,
}


def write_safetensors(path, arrays):
    header, data = {}, b""
    for name, (kind, shape, raw) in arrays.items():
        header[name] = {"dtype": kind, "shape": list(shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as out:
        out.write(struct.pack("<Q", len(text)) + text + data)


def write_model(path, c, config, module):
    """Returns module -> (weight, format)."""
    arrays, made = {}, {}
    for name, x in make_models.weights(c).items():
        parts = module(name, *x.shape) if name.endswith("proj.weight") else None
        if parts is None:
            arrays[name] = ("BF16", x.shape, formats.encode_float("BF16", x))
            continue
        prefix = name[:-len("weight")]
        arrays.update({prefix + key: value for key, value in parts[0].items()})
        made[prefix] = parts[1:]
    make_models.write_huggingface(path, c, {}, extra=config)
    write_safetensors(os.path.join(path, "model.safetensors"), arrays)
    return made


def main():
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        print(__doc__)
        return
    for name, model in MODELS.items():
        path = os.path.join(sys.argv[1], name)
        c, config, module = model()
        made = write_model(path, c, config, module)
        read = llama.read_safetensors(os.path.join(path, "model.safetensors"))
        read = quantised.dequantise(read, json.load(open(os.path.join(path, "config.json"))))
        with open(os.path.join(path, "weights.txt"), "w") as out:
            for prefix, (weight, kind) in made.items():
                assert (read[prefix + "weight"] == weight).all(), f"{name} {prefix}: reading gives another weight"
                crc = zlib.crc32((weight + np.float32(0)).astype("<f4").tobytes())
                out.write(f"{prefix} {weight.shape[0]} {weight.shape[1]} {kind} {crc}\n")
        ids = [int(i) for i in rng.integers(0, c["vocab"], POSITIONS)]
        open(os.path.join(path, "ids.txt"), "w").write(" ".join(map(str, ids)) + "\n")
        np.save(os.path.join(path, "logits.npy"), llama.forward(llama.load(path), ids).astype(np.float32))
    open(os.path.join(sys.argv[1], "manifest.txt"), "w").write("\n".join(MODELS) + "\n")


if __name__ == "__main__":
    main()
