// Checkpoints of shapes alone.
#include "engine/synthetic.h"

#include <algorithm>
#include <charconv>

#include "kernels/error.h"

namespace alia {
namespace {

constexpr std::string_view prefix = "synthetic:";

struct Shape {
    const char* name;
    int64_t layers, hidden, heads, kv_heads, head_dim, ffn, vocabulary;
};
constexpr Shape shapes[] = {{"alia-40b", 48, 8192, 64, 8, 128, 24576, 256000},
                            {"salamandra-7b", 32, 4096, 32, 8, 128, 11008, 256000},
                            {"salamandra-2b", 24, 2048, 16, 16, 128, 5440, 256000},
                            {"tiny", 2, 256, 4, 2, 64, 512, 512}};

Shape shape_of(const std::string& path, std::string_view name) {
    std::string known;
    for (const Shape& s : shapes) {
        if (name == s.name) return s;
        known += (known.empty() ? "" : ", ") + std::string(s.name);
    }
    fail(Status::invalid_argument, {path}, "there is no shape \"%.*s\": they are %s",
         int(std::min<size_t>(name.size(), 40)), name.data(), known.c_str());
}

Format format_of(const std::string& path, std::string_view name) {
    std::string upper(name), known;
    for (char& c : upper)
        if (c >= 'a' && c <= 'z') c = char(c - 'a' + 'A');
    if (upper == "FP8") return Format::E4M3;
    for (int f = 0; f < Formats::size; ++f) {
        if (upper == info(Format(f)).name) return Format(f);
        known += (f ? ", " : "") + std::string(info(Format(f)).name);
    }
    fail(Status::invalid_argument, {path}, "there is no type \"%.*s\": they are %s",
         int(std::min<size_t>(name.size(), 40)), name.data(), known.c_str());
}

std::string config_of(const Shape& s) {
    auto field = [](const char* name, int64_t value) {
        return ",\"" + std::string(name) + "\":" + std::to_string(value);
    };
    return R"({"architectures":["LlamaForCausalLM"],"rms_norm_eps":1e-5,"rope_theta":10000.0,"tie_word_embeddings":false)" +
           field("hidden_size", s.hidden) + field("intermediate_size", s.ffn) + field("num_hidden_layers", s.layers) +
           field("num_attention_heads", s.heads) + field("num_key_value_heads", s.kv_heads) +
           field("head_dim", s.head_dim) + field("vocab_size", s.vocabulary) +
           field("max_position_embeddings", 163840) + field("bos_token_id", 1) + field("eos_token_id", 2) + "}";
}

void add(Checkpoint& c, const std::string& name, Format format, int64_t rows, int64_t columns) {
    if (columns % info(format).n != 0)
        fail(Status::unsupported, {c.path, name}, "rows of %lld numbers are no whole blocks of %s", (long long)columns,
             info(format).name);
    Array a;
    a.name = name, a.format = format, a.rows = rows, a.columns = columns;
    a.bytes = rows * row_bytes(format, columns);
    c.arrays.push_back(std::move(a));
}

Checkpoint synthetic_checkpoint(const std::string& path) {
    const std::string_view rest = std::string_view(path).substr(prefix.size());
    const size_t first = std::min(rest.find(':'), rest.size()),
                 second = std::min(rest.find(':', first + 1), rest.size());
    Shape s = shape_of(path, rest.substr(0, first));
    const Format f = format_of(path, first < rest.size() ? rest.substr(first + 1, second - first - 1) : "");
    if (second < rest.size()) {
        const std::string_view number = rest.substr(second + 1);
        int64_t layers = 0;
        const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), layers);
        if (error != std::errc() || end != number.data() + number.size() || layers < 1 || layers > s.layers)
            fail(Status::invalid_argument, {path}, "layers are a number from 1 to %lld", (long long)s.layers);
        s.layers = layers;
    }
    Checkpoint c;
    c.path = path;
    c.drawn = true;
    c.metadata_path = c.generation_path = path;
    c.metadata = JsonDocument::parse(config_of(s), path);
    add(c, "model.embed_tokens.weight", f, s.vocabulary, s.hidden);
    add(c, "model.norm.weight", Format::F32, 1, s.hidden);
    add(c, "lm_head.weight", f, s.vocabulary, s.hidden);
    for (int64_t l = 0; l < s.layers; ++l) {
        const std::string layer = "model.layers." + std::to_string(l) + ".";
        add(c, layer + "input_layernorm.weight", Format::F32, 1, s.hidden);
        add(c, layer + "self_attn.q_proj.weight", f, s.heads * s.head_dim, s.hidden);
        add(c, layer + "self_attn.k_proj.weight", f, s.kv_heads * s.head_dim, s.hidden);
        add(c, layer + "self_attn.v_proj.weight", f, s.kv_heads * s.head_dim, s.hidden);
        add(c, layer + "self_attn.o_proj.weight", f, s.hidden, s.heads * s.head_dim);
        add(c, layer + "post_attention_layernorm.weight", Format::F32, 1, s.hidden);
        add(c, layer + "mlp.gate_proj.weight", f, s.ffn, s.hidden);
        add(c, layer + "mlp.up_proj.weight", f, s.ffn, s.hidden);
        add(c, layer + "mlp.down_proj.weight", f, s.hidden, s.ffn);
    }
    std::sort(c.arrays.begin(), c.arrays.end(), [](const Array& a, const Array& b) { return a.name < b.name; });
    return c;
}

}  // namespace

Checkpoint open_model_files(const std::string& path, const CheckpointOptions& options) {
    return path.starts_with(prefix) ? synthetic_checkpoint(path) : open_checkpoint(path, options);
}

}  // namespace alia
