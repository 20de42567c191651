#!/usr/bin/env python3
"""A GGUF file with an ALIA model's shape and random weights, for measuring speed where the real weights are not at hand.

    random_model.py salamandra-2b Q4_K_M out.gguf
    random_model.py alia-40b Q4_0 out.gguf --layers 4

Blocks are drawn directly in the target format: random bits, and scales that keep logits finite. Types are mixed as llama.cpp's
quantiser mixes them (--pure: one type for every matrix). Memory stays small; the same seed gives the same bytes. The
vocabulary is of the right size and means nothing."""
import argparse
import struct

import numpy

# layers, hidden, heads, KV heads, FFN, head size, vocabulary, tied embeddings, RoPE base
SHAPES = {
    "alia-40b": (48, 8192, 64, 8, 24576, 128, 256000, False, 1e4),
    "salamandra-7b": (32, 4096, 32, 8, 11008, 128, 256000, False, 1e4),
    "salamandra-2b": (24, 2048, 16, 16, 5440, 128, 256000, False, 1e4),
    "smollm2-135m": (30, 576, 9, 3, 1536, 64, 49152, True, 1e5),
}

# Number in GGUF, numbers a block, bytes a block, and where the block's f16 scales lie with their size. The scales give
# values a deviation near 0.03 and, where there is a minimum, a mean near 0. Floats have a mask and a base instead: random
# bits with an exponent of 2^-7 to 2^-4.
TYPES = {
    "F32": (0, 1, 4, (numpy.uint32, 0x81FFFFFF, 0x3C000000)),
    "F16": (1, 1, 2, (numpy.uint16, 0x8FFF, 0x2000)),
    "BF16": (30, 1, 2, (numpy.uint16, 0x81FF, 0x3C00)),
    "Q8_0": (8, 32, 34, {0: 4e-4}),
    "Q4_0": (2, 32, 18, {0: 6e-3}),
    "Q4_1": (3, 32, 20, {0: 6e-3, 2: -4.5e-2}),
    "Q5_0": (6, 32, 22, {0: 3e-3}),
    "Q5_1": (7, 32, 24, {0: 3e-3, 2: -4.65e-2}),
    "Q2_K": (10, 256, 84, {80: 3.6e-3, 82: 5.4e-3}),
    "Q3_K": (11, 256, 110, {108: 7e-4}),
    "Q4_K": (12, 256, 144, {0: 2e-4, 2: 1.5e-3}),
    "Q5_K": (13, 256, 176, {0: 1e-4, 2: 1.55e-3}),
    "Q6_K": (14, 256, 210, {208: 2.2e-5}),
    "IQ4_NL": (20, 32, 18, {0: 4e-4}),
    "IQ4_XS": (23, 256, 136, {0: 2.4e-5}),
}
# What a quantiser puts where a row is no multiple of 256.
FALLBACK = {"Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0", "Q2_K": "IQ4_NL", "Q3_K": "IQ4_NL", "IQ4_XS": "IQ4_NL"}
# File types as GGUF's general.file_type numbers them.
FILE_TYPES = {"F32": 0, "F16": 1, "Q4_0": 2, "Q4_1": 3, "Q8_0": 7, "Q5_0": 8, "Q5_1": 9, "Q2_K": 10, "Q3_K": 12, "Q4_K_M": 15,
              "Q5_K_M": 17, "Q6_K": 18, "IQ4_NL": 25, "IQ4_XS": 30, "BF16": 32}


def more_bits(layer, layers):
    return layer < layers // 8 or layer >= 7 * layers // 8 or (layer - layers // 8) % 3 == 2


def type_of(name, columns, file_type, layers, tied, pure):
    """What llama.cpp's quantiser gives a matrix."""
    base = file_type.removesuffix("_M")
    chosen = base
    if not pure:
        if name == "output.weight" or (tied and name == "token_embd.weight"):
            chosen = base if base in ("F32", "F16", "BF16", "Q8_0") else "Q6_K" if columns % 256 == 0 else "Q8_0"
        elif file_type.endswith("_M") and name.endswith(("attn_v.weight", "ffn_down.weight")):
            chosen = "Q6_K" if more_bits(int(name.split(".")[1]), layers) else base
    return FALLBACK[chosen] if columns % TYPES[chosen][1] else chosen


def tensors(shape, file_type, pure):
    """(name, rows, columns, type); norms have no rows."""
    layers, hidden, heads, kv_heads, ffn, head, vocabulary, tied, _ = shape

    def matrix(name, rows, columns):
        return name, rows, columns, type_of(name, columns, file_type, layers, tied, pure)

    yield matrix("token_embd.weight", vocabulary, hidden)
    for i in range(layers):
        yield f"blk.{i}.attn_norm.weight", None, hidden, "F32"
        yield matrix(f"blk.{i}.attn_q.weight", heads * head, hidden)
        yield matrix(f"blk.{i}.attn_k.weight", kv_heads * head, hidden)
        yield matrix(f"blk.{i}.attn_v.weight", kv_heads * head, hidden)
        yield matrix(f"blk.{i}.attn_output.weight", hidden, heads * head)
        yield f"blk.{i}.ffn_norm.weight", None, hidden, "F32"
        yield matrix(f"blk.{i}.ffn_gate.weight", ffn, hidden)
        yield matrix(f"blk.{i}.ffn_up.weight", ffn, hidden)
        yield matrix(f"blk.{i}.ffn_down.weight", hidden, ffn)
    yield "output_norm.weight", None, hidden, "F32"
    if not tied:
        yield matrix("output.weight", vocabulary, hidden)


def string(text):
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def pair(key, kind, value):
    codes = {"u32": (4, "<I"), "i32": (5, "<i"), "f32": (6, "<f"), "bool": (7, "<?")}
    if kind == "str":
        return string(key) + struct.pack("<I", 8) + string(value)
    if kind.startswith("["):
        inner = kind[1:-1]
        code = 8 if inner == "str" else codes[inner][0]
        items = b"".join(map(string, value)) if inner == "str" else struct.pack(f"<{len(value)}{codes[inner][1][1]}", *value)
        return string(key) + struct.pack("<IIQ", 9, code, len(value)) + items
    code, form = codes[kind]
    return string(key) + struct.pack("<I", code) + struct.pack(form, value)


def vocabulary_of(size):
    """Tokens, scores and kinds (1 normal, 2 unknown, 3 control, 6 byte) of a SentencePiece vocabulary."""
    special = ["<unk>", "<s>", "</s>", "<pad>", "<|im_start|>", "<|im_end|>"]
    tokens = special + [f"<0x{b:02X}>" for b in range(256)] + ["▁"] + [chr(c) for c in range(33, 127)]
    kinds = [2] + [3] * 5 + [6] * 256 + [1] * 95
    tokens += [f"▁{i:x}" for i in range(size - len(tokens))]
    kinds += [1] * (size - len(kinds))
    return tokens, [0.0] * 262 + [-float(i) for i in range(size - 262)], kinds


def metadata(shape, name, file_type):
    layers, hidden, heads, kv_heads, ffn, head, vocabulary, _, base = shape
    tokens, scores, kinds = vocabulary_of(vocabulary)
    return [
        pair("general.architecture", "str", "llama"), pair("general.name", "str", f"{name}, random weights"),
        pair("general.file_type", "u32", FILE_TYPES[file_type]), pair("general.quantization_version", "u32", 2),
        pair("llama.block_count", "u32", layers), pair("llama.context_length", "u32", 8192),
        pair("llama.embedding_length", "u32", hidden), pair("llama.feed_forward_length", "u32", ffn),
        pair("llama.attention.head_count", "u32", heads), pair("llama.attention.head_count_kv", "u32", kv_heads),
        pair("llama.attention.layer_norm_rms_epsilon", "f32", 1e-5), pair("llama.rope.freq_base", "f32", base),
        pair("llama.rope.dimension_count", "u32", head), pair("llama.vocab_size", "u32", vocabulary),
        pair("tokenizer.ggml.model", "str", "llama"), pair("tokenizer.ggml.tokens", "[str]", tokens),
        pair("tokenizer.ggml.scores", "[f32]", scores), pair("tokenizer.ggml.token_type", "[i32]", kinds),
        pair("tokenizer.ggml.bos_token_id", "u32", 1), pair("tokenizer.ggml.eos_token_id", "u32", 2),
        pair("tokenizer.ggml.unknown_token_id", "u32", 0), pair("tokenizer.ggml.add_bos_token", "bool", True),
        pair("tokenizer.ggml.add_space_prefix", "bool", True),
    ]


def draw(random, kind, count):
    """`count` blocks."""
    _, _, size, fields = TYPES[kind]
    if isinstance(fields, tuple):
        dtype, mask, base = fields
        bits = numpy.frombuffer(random.bytes(count * size), dtype)
        return (bits & dtype(mask) | dtype(base)).tobytes()
    blocks = numpy.frombuffer(random.bytes(count * size), numpy.uint8).reshape(count, size).copy()
    spread = random.uniform(0.8, 1.2, (count, 1))
    for offset, scale in fields.items():
        blocks[:, offset:offset + 2] = (scale * spread).astype("<f2").view(numpy.uint8)
    return blocks.tobytes()


def write(path, shape, name, file_type, seed, pure):
    alignment, slab = 32, 1 << 24
    entries, offset, header = [], 0, metadata(shape, name, file_type)
    for tensor, rows, columns, kind in tensors(shape, file_type, pure):
        number, n, size, _ = TYPES[kind]
        blocks = (rows or 1) * columns // n
        dimensions = [columns] if rows is None else [columns, rows]
        entry = string(tensor) + struct.pack(f"<I{len(dimensions)}QIQ", len(dimensions), *dimensions, number, offset)
        entries.append((entry, rows, kind, blocks))
        offset += -(-blocks * size // alignment) * alignment
    with open(path, "wb") as file:
        file.write(b"GGUF" + struct.pack("<IQQ", 3, len(entries), len(header)))
        file.write(b"".join(header) + b"".join(entry for entry, *_ in entries))
        for number, (_, rows, kind, blocks) in enumerate(entries):
            file.write(bytes(-file.tell() % alignment))
            if rows is None:
                file.write(numpy.ones(blocks, "<f4").tobytes())
                continue
            random, step = numpy.random.default_rng([seed, number]), max(1, slab // TYPES[kind][2])
            for first in range(0, blocks, step):
                file.write(draw(random, kind, min(step, blocks - first)))
        file.write(bytes(-file.tell() % alignment))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", choices=SHAPES)
    parser.add_argument("type", choices=FILE_TYPES)
    parser.add_argument("out")
    parser.add_argument("--layers", type=int, help="fewer layers than the model has")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--pure", action="store_true", help="this type for every matrix, head and embeddings included")
    o = parser.parse_args()
    shape = SHAPES[o.model]
    if o.layers:
        shape = (o.layers, *shape[1:])
    write(o.out, shape, o.model, o.type, o.seed, o.pure)


if __name__ == "__main__":
    main()
