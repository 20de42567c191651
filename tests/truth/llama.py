"""The Llama forward pass in double precision with NumPy: what libalia's logits are compared with. Shares no code with the
engine. Reads Hugging Face directories and GGUF files.

    python3 tests/truth/llama.py MODEL --ids FILE --out LOGITS.npy
"""
import argparse
import json
import math
import os
import sys

import numpy as np

import formats
import gguf_file
import quantised

RAW_TYPES = {"I8": "<i1", "U8": "<u1", "F8_E4M3": "<u1", "I32": "<i4", "I64": "<i8"}


def read_safetensors(path):
    """name -> array, float32 but for raw types (https://github.com/huggingface/safetensors#format)."""
    data = np.fromfile(path, np.uint8)
    size = int(data[:8].view(np.uint64)[0])
    header = json.loads(data[8:8 + size].tobytes())
    header.pop("__metadata__", None)
    arrays = {}
    for name, entry in header.items():
        first, last = entry["data_offsets"]
        raw = data[8 + size + first:8 + size + last]
        kind = entry["dtype"]
        numbers = raw.view(RAW_TYPES[kind]) if kind in RAW_TYPES else formats.decode(kind, raw, 1)
        arrays[name] = numbers.reshape(entry["shape"])
    return arrays


def rope_frequencies(rope, dim):
    """Radians a position for each pair, and the factor of cosine and sine; as transformers' modeling_rope_utils."""
    kind, base, factor = rope.get("kind", "default"), rope["base"], rope.get("factor", 1.0)
    f = base ** (-np.arange(0, dim, 2) / dim)
    if kind == "linear":
        return f / factor, 1.0
    if kind == "llama3":
        original, low, high = rope["original"], rope["low"], rope["high"]
        wavelength = 2 * math.pi / f
        smooth = (original / wavelength - low) / (high - low)
        middle = (1 - smooth) * f / factor + smooth * f
        return np.where(wavelength > original / low, f / factor, np.where(wavelength < original / high, f, middle)), 1.0
    if kind == "yarn":
        def turns(n):  # the dimension whose pair turns n times within the original context
            return dim * math.log(rope["original"] / (n * 2 * math.pi)) / (2 * math.log(base))
        low, high = turns(rope.get("beta_fast") or 32), turns(rope.get("beta_slow") or 1)
        if rope.get("truncate", True):
            low, high = math.floor(low), math.ceil(high)
        low, high = max(low, 0), min(high, dim - 1)
        ramp = np.clip((np.arange(dim // 2) - low) / ((high - low) or 0.001), 0, 1)
        def stretch(mscale):
            return 0.1 * mscale * math.log(factor) + 1 if factor > 1 else 1.0
        both = rope.get("mscale") and rope.get("mscale_all")
        scale = rope.get("attention") or (stretch(rope["mscale"]) / stretch(rope["mscale_all"]) if both else stretch(1))
        return f / factor * ramp + f * (1 - ramp), scale
    return f, 1.0


def angles(rope, dim, positions):
    """cos and sin, [positions][dim / 2]. `dynamic` is position-wise: position p has the frequencies of a context of p + 1."""
    f, scale = rope_frequencies(rope, dim)
    f = f / rope["divisors"] if rope.get("divisors") is not None else f
    turn = positions[:, None] * f[None, :]
    if rope.get("kind") == "dynamic":
        for row, p in enumerate(positions):
            if p >= rope["original"]:
                stretch = rope["factor"] * (p + 1) / rope["original"] - (rope["factor"] - 1)
                base = rope["base"] * stretch ** (dim / (dim - 2))
                turn[row] = p * base ** (-np.arange(0, dim, 2) / dim)
    return np.cos(turn) * scale, np.sin(turn) * scale


def from_huggingface(path):
    config = json.load(open(os.path.join(path, "config.json")))
    index = os.path.join(path, "model.safetensors.index.json")
    files = sorted(set(json.load(open(index))["weight_map"].values())) if os.path.exists(index) else ["model.safetensors"]
    w = {}
    for file in files:
        w.update(read_safetensors(os.path.join(path, file)))
    w = quantised.dequantise(w, config)
    scaling = config.get("rope_parameters") or config.get("rope_scaling") or {}
    original = scaling.get("original_max_position_embeddings")
    rope = {"kind": scaling.get("rope_type", scaling.get("type", "default")),
            "base": scaling.get("rope_theta", config.get("rope_theta", 10000.0)), "factor": scaling.get("factor", 1.0),
            "original": original or config["max_position_embeddings"],
            "low": scaling.get("low_freq_factor"), "high": scaling.get("high_freq_factor"),
            "beta_fast": scaling.get("beta_fast"), "beta_slow": scaling.get("beta_slow"),
            "truncate": scaling.get("truncate", True), "attention": scaling.get("attention_factor"),
            "mscale": scaling.get("mscale"), "mscale_all": scaling.get("mscale_all_dim")}
    heads = config["num_attention_heads"]
    c = {"layers": config["num_hidden_layers"], "heads": heads, "kv": config.get("num_key_value_heads", heads),
         "dim": config.get("head_dim") or config["hidden_size"] // heads, "eps": config["rms_norm_eps"], "rope": rope}
    layers = [{ours: w[f"model.layers.{i}.{theirs}.weight"] for ours, theirs in {
        "attn_norm": "input_layernorm", "q": "self_attn.q_proj", "k": "self_attn.k_proj", "v": "self_attn.v_proj",
        "o": "self_attn.o_proj", "ffn_norm": "post_attention_layernorm", "gate": "mlp.gate_proj", "up": "mlp.up_proj",
        "down": "mlp.down_proj"}.items()} for i in range(c["layers"])]
    embed = w["model.embed_tokens.weight"]
    return c, {"embed": embed, "layers": layers, "norm": w["model.norm.weight"],
               "head": embed if config.get("tie_word_embeddings") else w["lm_head.weight"]}


def halves(w, dim):
    """Undoes the permutation by which llama.cpp's converter makes RoPE turn neighbouring rows."""
    return w.reshape(-1, dim // 2, 2, w.shape[-1]).transpose(0, 2, 1, 3).reshape(w.shape)


def from_gguf(path):
    parts = [path]
    if "-00001-of-" in path:
        count = int(path.split("-of-")[1].split(".")[0])
        parts = [path.replace("-00001-of-", f"-{i + 1:05}-of-") for i in range(count)]
    readers = [gguf_file.Reader(p) for p in parts]
    m = readers[0].metadata
    w = {name: r.array(name) for r in readers for name in r.tensors}
    heads = m["llama.attention.head_count"]
    dim = m.get("llama.attention.key_length", m["llama.embedding_length"] // heads)
    kind = {"none": "default"}.get(m.get("llama.rope.scaling.type", "none"), m.get("llama.rope.scaling.type"))
    divisors = w["rope_freqs.weight"].astype(np.float64).ravel() if "rope_freqs.weight" in w else None
    rope = {"kind": kind, "base": m.get("llama.rope.freq_base", 10000.0), "factor": m.get("llama.rope.scaling.factor", 1.0),
            "original": m.get("llama.rope.scaling.original_context_length", m.get("llama.context_length")),
            "divisors": divisors}
    c = {"layers": m["llama.block_count"], "heads": heads, "kv": m.get("llama.attention.head_count_kv", heads), "dim": dim,
         "eps": m["llama.attention.layer_norm_rms_epsilon"], "rope": rope}
    layers = []
    for i in range(c["layers"]):
        layer = {ours: w[f"blk.{i}.{theirs}.weight"] for ours, theirs in {
            "attn_norm": "attn_norm", "q": "attn_q", "k": "attn_k", "v": "attn_v", "o": "attn_output",
            "ffn_norm": "ffn_norm", "gate": "ffn_gate", "up": "ffn_up", "down": "ffn_down"}.items()}
        layer["q"], layer["k"] = halves(layer["q"], dim), halves(layer["k"], dim)
        layers.append(layer)
    embed = w["token_embd.weight"]
    return c, {"embed": embed, "layers": layers, "norm": w["output_norm.weight"], "head": w.get("output.weight", embed)}


def load(path):
    return from_huggingface(path) if os.path.isdir(path) else from_gguf(path)


def rms_norm(x, w, eps):
    return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + eps) * w


def rotate(x, cos, sin):
    a, b = np.split(x, 2, axis=-1)
    cos, sin = cos[:, None, :], sin[:, None, :]
    return np.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)


def forward(model, ids, see=lambda layer, names, x: None):
    """float64 logits [len(ids)][vocabulary]. `see` is told which matrices of a layer (None: the head's) read which input."""
    c, w = model
    n, dim, group = len(ids), c["dim"], c["heads"] // c["kv"]
    cos, sin = angles(c["rope"], dim, np.arange(n, dtype=np.float64))
    x = w["embed"][ids].astype(np.float64)
    mask = np.triu(np.full((n, n), -np.inf), 1)
    for i, layer in enumerate(w["layers"]):
        if sys.stderr.isatty():
            print(f"\rlayer {i + 1} of {c['layers']}", end="", file=sys.stderr)
        p = {name: a.astype(np.float64) for name, a in layer.items()}
        h = rms_norm(x, p["attn_norm"].ravel(), c["eps"])
        see(i, ["q", "k", "v"], h)
        q = rotate((h @ p["q"].T).reshape(n, c["heads"], dim), cos, sin)
        k = rotate((h @ p["k"].T).reshape(n, c["kv"], dim), cos, sin)
        v = (h @ p["v"].T).reshape(n, c["kv"], dim)
        a = np.empty_like(q)
        for head in range(c["heads"]):
            score = q[:, head] @ k[:, head // group].T / math.sqrt(dim) + mask
            score = np.exp(score - score.max(axis=1, keepdims=True))
            a[:, head] = score / score.sum(axis=1, keepdims=True) @ v[:, head // group]
        see(i, ["o"], a.reshape(n, -1))
        x = x + a.reshape(n, -1) @ p["o"].T
        h = rms_norm(x, p["ffn_norm"].ravel(), c["eps"])
        see(i, ["gate", "up"], h)
        gate = h @ p["gate"].T
        f = gate / (1 + np.exp(-gate)) * (h @ p["up"].T)
        see(i, ["down"], f)
        x = x + f @ p["down"].T
    if sys.stderr.isatty():
        print(file=sys.stderr)
    x = rms_norm(x, w["norm"].ravel().astype(np.float64), c["eps"])
    see(None, ["head"], x)
    return x @ w["head"].astype(np.float64).T


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--ids", required=True, help="file of token ids parted by white space")
    parser.add_argument("--out", required=True, help=".npy, float64 [positions][vocabulary]")
    args = parser.parse_args()
    ids = [int(i) for i in open(args.ids).read().split()]
    np.save(args.out, forward(load(args.model), ids))


if __name__ == "__main__":
    main()
