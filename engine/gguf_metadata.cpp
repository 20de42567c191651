// Config to keys as llama.cpp reads them, and keys to the same keys.
#include "engine/gguf_metadata.h"

#include <algorithm>
#include <cmath>

namespace alia {
namespace {

// The model's own name, else that of its directory.
std::string model_name(const Checkpoint& checkpoint, const Config& c) {
    std::string path = c.name.empty() ? checkpoint.path : c.name;
    while (path.size() > 1 && path.back() == '/') path.pop_back();
    return path.substr(path.rfind('/') + 1);
}

void write_yarn(GgufWriter& w, const Checkpoint& checkpoint, const Config& c) {
    const RopeConfig& r = c.rope;
    if (!r.truncate)
        fail(Status::unsupported, {checkpoint.metadata_path, "rope_scaling"},
             "GGUF has no word for yarn without truncation");
    w.real("llama.rope.scaling.yarn_beta_fast", float(r.beta_fast));
    w.real("llama.rope.scaling.yarn_beta_slow", float(r.beta_slow));
    // GGUF's factor multiplies what the paper suggests; ours replaces it.
    const double suggested = r.factor > 1 ? 0.1 * std::log(r.factor) + 1 : 1;
    w.real("llama.rope.scaling.attn_factor", float(rope_frequencies(r, c.head_dim).scale / suggested));
}

void write_rope(GgufWriter& w, const Checkpoint& checkpoint, const Config& c, std::vector<std::string>& notes) {
    const RopeConfig& r = c.rope;
    w.integer("llama.rope.dimension_count", uint32_t(c.head_dim));
    w.real("llama.rope.freq_base", float(r.base));
    if (r.kind == RopeKind::dynamic)
        notes.push_back("GGUF has no word for dynamic RoPE scaling: beyond " + std::to_string(c.context) +
                        " positions the result differs from its source");
    if (r.kind != RopeKind::linear && r.kind != RopeKind::yarn) return;
    w.text("llama.rope.scaling.type", r.kind == RopeKind::linear ? "linear" : "yarn");
    w.real("llama.rope.scaling.factor", float(r.factor));
    w.integer("llama.rope.scaling.original_context_length", uint32_t(r.original));
    if (r.kind == RopeKind::yarn) write_yarn(w, checkpoint, c);
}

// Walks over keys that read_gguf has read already, so that what they announce is there.
struct KeyWalk {
    std::string_view text;
    size_t at = 4 + 4 + 8;

    template <class T>
    T number() {
        T value;
        std::memcpy(&value, text.substr(at, sizeof value).data(), sizeof value);
        at += sizeof value;
        return value;
    }
    std::string_view string() {
        const auto length = number<uint64_t>();
        at += length;
        return text.substr(at - length, length);
    }
    void skip(uint32_t type) {
        constexpr uint32_t string_type = 8, array_type = 9;
        constexpr uint8_t bytes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
        if (type == string_type) {
            string();
        } else if (type == array_type) {
            const auto of = number<uint32_t>();
            const auto count = number<uint64_t>();
            if (bytes[of]) at += count * bytes[of];
            for (uint64_t i = 0; i < count && !bytes[of]; ++i) skip(of);
        } else {
            at += bytes[type];
        }
    }
};

bool of_the_file(std::string_view key) {
    constexpr std::string_view keys[] = {"general.alignment", "general.file_type", "general.quantization_version"};
    return std::find(std::begin(keys), std::end(keys), key) != std::end(keys) || key.starts_with("split.") ||
           key.starts_with("quantize.");
}

}  // namespace

void write_config(GgufWriter& w, const Checkpoint& checkpoint, const Config& c, std::vector<std::string>& notes) {
    w.text("general.architecture", "llama");
    w.text("general.type", "model");
    w.text("general.name", model_name(checkpoint, c));
    w.integer("llama.vocab_size", uint32_t(c.vocabulary));
    w.integer("llama.context_length", uint32_t(c.context));
    w.integer("llama.embedding_length", uint32_t(c.hidden));
    w.integer("llama.block_count", uint32_t(c.layers));
    w.integer("llama.feed_forward_length", uint32_t(c.ffn));
    w.integer("llama.attention.head_count", uint32_t(c.heads));
    w.integer("llama.attention.head_count_kv", uint32_t(c.kv_heads));
    w.integer("llama.attention.key_length", uint32_t(c.head_dim));
    w.integer("llama.attention.value_length", uint32_t(c.head_dim));
    w.real("llama.attention.layer_norm_rms_epsilon", float(c.eps));
    write_rope(w, checkpoint, c, notes);
}

void copy_keys(GgufWriter& w, const Checkpoint& checkpoint) {
    KeyWalk walk{checkpoint.files[0]->text()};
    for (auto keys = walk.number<uint64_t>(); keys > 0; --keys) {
        const std::string_view key = walk.string();
        const size_t start = walk.at;
        walk.skip(walk.number<uint32_t>());
        if (!of_the_file(key)) w.raw(key, walk.text.substr(start, walk.at - start));
    }
}

std::vector<float> rope_divisors(const Config& c) {
    if (c.rope.kind != RopeKind::llama3) return {};
    RopeConfig plain = c.rope;
    plain.kind = RopeKind::standard;
    const auto from = rope_frequencies(plain, c.head_dim).frequency,
               to = rope_frequencies(c.rope, c.head_dim).frequency;
    std::vector<float> divisors;
    for (size_t i = 0; i < from.size(); ++i) divisors.push_back(float(from[i] / to[i]));
    return divisors;
}

}  // namespace alia
