"""Writes the tiny models of tests/data/models from a fixed seed, and their logits by llama.py.

    python3 tests/truth/make_models.py tests/data/models

For each case of manifest.txt (name, path, largest difference allowed over the largest logit) there are NAME.ids.txt and
NAME.logits.npy (float32, rounded from float64, [positions][vocabulary]).
"""
import json
import os
import struct
import sys

import numpy as np

import formats
import gguf_file
import llama
from gguf_file import F32, STRING, U32

TOLERANCE = 1e-5
POSITIONS = 40  # beyond `original` of the RoPE kinds below

GROUPED = dict(hidden=64, heads=8, kv=1, dim=8, ffn=48, vocab=50, layers=2, tied=False, eps=1e-5, base=10000.0)
FULL = dict(GROUPED, heads=8, kv=8, tied=True, eps=1e-6)
ALIA = dict(GROUPED, hidden=128, heads=16, kv=2, ffn=96, vocab=96)

ROPES = {
    "linear": {"type": "linear", "factor": 4.0},
    "llama3": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
               "original_max_position_embeddings": 64},
    "dynamic": {"type": "dynamic", "factor": 2.0},
    "yarn": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16, "beta_fast": 4.0, "beta_slow": 1.0},
    "yarn-mscale": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16, "mscale": 0.7,
                    "mscale_all_dim": 1.2, "truncate": False},
    "yarn-attention": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16, "attention_factor": 1.3},
}

rng = np.random.default_rng(40)


def weights(c):
    """Hugging Face's names and shapes, float32."""
    def normal(rows, columns, spread=None):
        return (rng.standard_normal((rows, columns)) * (spread or 1.5 / np.sqrt(columns))).astype(np.float32)

    def near_one(n):
        return (1 + 0.2 * rng.standard_normal(n)).astype(np.float32)

    w = {"model.embed_tokens.weight": normal(c["vocab"], c["hidden"], 1.0)}
    for i in range(c["layers"]):
        p = f"model.layers.{i}."
        w[p + "input_layernorm.weight"] = near_one(c["hidden"])
        w[p + "self_attn.q_proj.weight"] = normal(c["heads"] * c["dim"], c["hidden"])
        w[p + "self_attn.k_proj.weight"] = normal(c["kv"] * c["dim"], c["hidden"])
        w[p + "self_attn.v_proj.weight"] = normal(c["kv"] * c["dim"], c["hidden"])
        w[p + "self_attn.o_proj.weight"] = normal(c["hidden"], c["heads"] * c["dim"])
        w[p + "post_attention_layernorm.weight"] = near_one(c["hidden"])
        w[p + "mlp.gate_proj.weight"] = normal(c["ffn"], c["hidden"])
        w[p + "mlp.up_proj.weight"] = normal(c["ffn"], c["hidden"])
        w[p + "mlp.down_proj.weight"] = normal(c["hidden"], c["ffn"])
    w["model.norm.weight"] = near_one(c["hidden"])
    if not c["tied"]:
        w["lm_head.weight"] = normal(c["vocab"], c["hidden"])
    return w


def stored(x, dtype):
    if dtype == "F32":
        return x.tobytes()
    if dtype == "F16":
        return x.astype(np.float16).tobytes()
    bits = x.view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16).tobytes()


def write_safetensors(path, w, dtype):
    header, data = {}, b""
    for name, x in w.items():
        raw = stored(x, dtype)
        header[name] = {"dtype": dtype, "shape": list(x.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as out:
        out.write(struct.pack("<Q", len(text)) + text + data)


def write_huggingface(path, c, w, dtype="BF16", rope=None, shards=1, extra=None, generation=None):
    os.makedirs(path, exist_ok=True)
    config = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu", "hidden_size": c["hidden"],
              "intermediate_size": c["ffn"], "num_hidden_layers": c["layers"], "num_attention_heads": c["heads"],
              "num_key_value_heads": c["kv"], "rms_norm_eps": c["eps"], "rope_theta": c["base"], "vocab_size": c["vocab"],
              "max_position_embeddings": 16 if rope else 64, "tie_word_embeddings": c["tied"], "bos_token_id": 1,
              "eos_token_id": 2, "torch_dtype": "bfloat16", "attention_bias": False, "mlp_bias": False,
              "rope_scaling": rope, **(extra or {})}
    if c["heads"] * c["dim"] != c["hidden"]:
        config["head_dim"] = c["dim"]
    json.dump(config, open(os.path.join(path, "config.json"), "w"), indent=1)
    if generation:
        json.dump(generation, open(os.path.join(path, "generation_config.json"), "w"), indent=1)
    if shards == 1:
        write_safetensors(os.path.join(path, "model.safetensors"), w, dtype)
        return
    names, index = list(w), {}
    for i in range(shards):
        file = f"model-{i + 1:05}-of-{shards:05}.safetensors"
        part = names[i * len(names) // shards:(i + 1) * len(names) // shards]
        index.update({name: file for name in part})
        write_safetensors(os.path.join(path, file), {name: w[name] for name in part}, dtype)
    json.dump({"metadata": {}, "weight_map": index}, open(os.path.join(path, "model.safetensors.index.json"), "w"), indent=1)


GGUF_NAMES = {"input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
              "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output", "post_attention_layernorm": "ffn_norm",
              "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}


def gguf_name(name):
    if name.startswith("model.layers."):
        _, _, layer, rest = name.split(".", 3)
        return f"blk.{layer}.{GGUF_NAMES[rest[:-len('.weight')]]}.weight"
    return {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight",
            "lm_head.weight": "output.weight"}[name]


def neighbours(x, dim):
    """The permutation of Q's and K's rows that llama.cpp's converter makes."""
    return x.reshape(-1, 2, dim // 2, x.shape[-1]).transpose(0, 2, 1, 3).reshape(x.shape)


def gguf_metadata(c, rope):
    m = [("general.architecture", STRING, "llama"), ("general.name", STRING, "tiny"), ("llama.block_count", U32, c["layers"]),
         ("llama.context_length", U32, 16 if rope else 64), ("llama.embedding_length", U32, c["hidden"]),
         ("llama.feed_forward_length", U32, c["ffn"]), ("llama.attention.head_count", U32, c["heads"]),
         ("llama.attention.head_count_kv", U32, c["kv"]), ("llama.attention.layer_norm_rms_epsilon", F32, c["eps"]),
         ("llama.rope.freq_base", F32, c["base"]), ("llama.rope.dimension_count", U32, c["dim"]),
         ("llama.vocab_size", U32, c["vocab"]), ("tokenizer.ggml.bos_token_id", U32, 1), ("tokenizer.ggml.eos_token_id", U32, 2)]
    if c["heads"] * c["dim"] != c["hidden"]:
        m += [("llama.attention.key_length", U32, c["dim"]), ("llama.attention.value_length", U32, c["dim"])]
    kind = (rope or {}).get("rope_type", (rope or {}).get("type"))
    if kind in ("linear", "yarn"):
        m += [("llama.rope.scaling.type", STRING, kind), ("llama.rope.scaling.factor", F32, rope["factor"]),
              ("llama.rope.scaling.original_context_length", U32, rope.get("original_max_position_embeddings", 16))]
    return m


def gguf_tensors(c, w, kinds, rope):
    """kinds: name -> (format, bytes or None); by default the arrays in F32."""
    tensors = []
    for name, x in w.items():
        kind, data = kinds.get(name, ("F32", None))
        if data is None:
            if name.endswith(("q_proj.weight", "k_proj.weight")):
                x = neighbours(x, c["dim"])
            data = stored(x, kind)
        tensors.append((gguf_name(name), kind, list(x.shape), data))
    if rope and rope.get("rope_type") == "llama3":
        plain, _ = llama.rope_frequencies({"base": c["base"]}, c["dim"])
        scaled, _ = llama.rope_frequencies({"kind": "llama3", "base": c["base"], "factor": rope["factor"], "original":
                                            rope["original_max_position_embeddings"], "low": 1.0, "high": 4.0}, c["dim"])
        divisors = (plain / scaled).astype(np.float32)
        tensors.append(("rope_freqs.weight", "F32", [len(divisors)], divisors.tobytes()))
    return tensors


def write_gguf(path, c, w, kinds=None, rope=None, version=3, parts=1):
    metadata, tensors = gguf_metadata(c, rope), gguf_tensors(c, w, kinds or {}, rope)
    for i in range(parts):
        share, file = tensors[i * len(tensors) // parts:(i + 1) * len(tensors) // parts], path
        keys = metadata if i == 0 else []
        if parts > 1:
            file = path.replace("-00001-of-", f"-{i + 1:05}-of-")
            keys = keys + [("split.no", 2, i), ("split.count", 2, parts), ("split.tensors.count", 5, len(tensors))]
        gguf_file.write(file, keys, share, version)


def mixed_formats(c, w, first):
    """Every matrix in another format, from the `first`-th on; random blocks, so Q and K need no permutation of known numbers."""
    names, kinds = list(formats.by_number.values()), {}
    for name, x in w.items():
        if x.ndim == 2:
            kind = names[first % len(names)]
            largest = 2.0 if "embed" in name else 4 / np.sqrt(x.shape[1])
            kinds[name] = (kind, formats.random_rows(kind, f"{name} {first}", x.shape[0], x.shape[1], largest))
            first += 1
    return kinds


def main():
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        print(__doc__)
        return
    out = sys.argv[1]
    os.makedirs(out, exist_ok=True)
    cases = []

    def case(name, path, c, ids=None):
        ids = ids or [int(i) for i in rng.integers(0, c["vocab"], POSITIONS)]
        logits = llama.forward(llama.load(os.path.join(out, path)), ids)
        open(os.path.join(out, name + ".ids.txt"), "w").write(" ".join(map(str, ids)) + "\n")
        np.save(os.path.join(out, name + ".logits.npy"), logits.astype(np.float32))
        cases.append(f"{name} {path} {TOLERANCE:g}")
        return ids

    w = weights(ALIA)
    write_huggingface(f"{out}/alia", ALIA, w, "F32", generation={"do_sample": True, "temperature": 0.2, "top_p": 0.9,
                                                                "eos_token_id": [2, 5]})
    ids = case("alia", "alia", ALIA)
    write_gguf(f"{out}/alia.gguf", ALIA, w)
    case("alia-gguf", "alia.gguf", ALIA, ids)

    w = weights(GROUPED)
    write_huggingface(f"{out}/sharded", GROUPED, w, "F16", shards=3)
    case("sharded", "sharded", GROUPED)
    write_gguf(f"{out}/split-00001-of-00002.gguf", GROUPED, w, parts=2)
    case("split", "split-00001-of-00002.gguf", GROUPED)
    write_gguf(f"{out}/v2.gguf", GROUPED, w, version=2)
    case("v2", "v2.gguf", GROUPED)

    w = weights(FULL)
    write_huggingface(f"{out}/full-tied", FULL, w)
    case("full-tied", "full-tied", FULL)
    write_gguf(f"{out}/full-tied.gguf", FULL, w)
    case("full-tied-gguf", "full-tied.gguf", FULL)

    odd = dict(GROUPED, hidden=60, heads=6, kv=2, dim=6, ffn=37, vocab=51, layers=3)
    write_huggingface(f"{out}/odd", odd, weights(odd))
    case("odd", "odd", odd)

    for kind, rope in ROPES.items():
        for layout, c in (("grouped", GROUPED), ("full", FULL)):
            if layout == "full" and kind.startswith("yarn-"):
                continue
            c = dict(c, layers=1)
            w = weights(c)
            name = f"{kind}-{layout}"
            other = {("rope_type" if k == "type" else "type" if k == "rope_type" else k): v for k, v in rope.items()}
            write_huggingface(f"{out}/{name}", c, w, rope=rope if layout == "grouped" else other)
            case(name, name, c)
            if kind in ("linear", "llama3", "yarn") and layout == "grouped":
                gguf_rope = {k: v for k, v in rope.items() if not k.startswith("beta")}
                write_gguf(f"{out}/{name}.gguf", c, w, rope=gguf_rope)
                case(name + "-gguf", name + ".gguf", c)

    wide = dict(GROUPED, hidden=256, heads=4, kv=1, dim=64, ffn=256, vocab=64, layers=1)
    for first in (0, 3, 6, 9, 12):
        w = weights(wide)
        write_gguf(f"{out}/formats-{first}.gguf", wide, w, mixed_formats(wide, w, first))
        case(f"formats-{first}", f"formats-{first}.gguf", wide)

    open(os.path.join(out, "manifest.txt"), "w").write("# name path tolerance\n" + "\n".join(cases) + "\n")


if __name__ == "__main__":
    main()
