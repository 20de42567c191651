// Config from config.json and from GGUF metadata, and the frequencies of every RoPE kind.
#include "engine/config.h"

#include <algorithm>
#include <cmath>

#include "engine/keys.h"

namespace alia {

namespace {

constexpr int64_t max_layers = 1024, max_heads = 1024, max_hidden = 1 << 20, max_ffn = 1 << 22;
constexpr int64_t max_vocabulary = 1 << 24, max_context = 1 << 30;
constexpr double max_base = 1e15, max_factor = 1e6;

// Where the two sources spell the same fact differently.
struct Spelling {
    const char *layers, *hidden, *ffn, *heads, *kv_heads, *head_dim, *context, *eps;
};
constexpr Spelling hub = {"num_hidden_layers",   "hidden_size", "intermediate_size",       "num_attention_heads",
                          "num_key_value_heads", "head_dim",    "max_position_embeddings", "rms_norm_eps"};
constexpr Spelling gguf = {"block_count",
                           "embedding_length",
                           "feed_forward_length",
                           "attention.head_count",
                           "attention.head_count_kv",
                           "attention.key_length",
                           "context_length",
                           "attention.layer_norm_rms_epsilon"};

void read_shape(Config& c, const Keys& keys, const Spelling& spell) {
    c.layers = keys.integer(spell.layers, 1, max_layers);
    c.hidden = keys.integer(spell.hidden, 1, max_hidden);
    c.ffn = keys.integer(spell.ffn, 1, max_ffn);
    c.heads = keys.integer(spell.heads, 1, max_heads);
    c.kv_heads = keys.find_integer(spell.kv_heads, 1, max_heads).value_or(c.heads);
    c.context = keys.integer(spell.context, 1, max_context);
    c.eps = keys.real(spell.eps, 1e-12, 1);
    if (c.heads % c.kv_heads)
        fail(Status::malformed, keys.place(keys.prefix + spell.kv_heads), "%lld KV heads do not divide %lld heads",
             (long long)c.kv_heads, (long long)c.heads);
    std::string key = keys.prefix + spell.head_dim;
    if (auto head_dim = keys.find_integer(spell.head_dim, 2, max_head_dim)) {
        c.head_dim = *head_dim;
    } else {
        if (c.hidden % c.heads)
            fail(Status::malformed, keys.place(keys.prefix + spell.heads), "%lld heads do not divide %lld columns",
                 (long long)c.heads, (long long)c.hidden);
        c.head_dim = c.hidden / c.heads;
    }
    if (c.head_dim < 2 || c.head_dim > max_head_dim)
        fail(Status::limit, keys.place(key), "heads have %lld columns, not 2 to %d", (long long)c.head_dim,
             max_head_dim);
    if (c.head_dim % 2) fail(Status::unsupported, keys.place(key), "heads have an odd number of columns");
}

// GPTQ's tools write biases of zeros where a model has none.
void refuse_biases(const Checkpoint& checkpoint) {
    auto zero = [](std::byte b) { return b == std::byte(0); };
    for (const Array& array : checkpoint.arrays)
        if (array.name.ends_with(".bias") && !std::all_of(array.data, array.data + array.bytes, zero))
            fail(Status::unsupported, checkpoint.place(array), "biases are not supported");
}

// Adds the ids of a key that holds one or several.
void add_ids(std::vector<int>& ids, const Keys& keys, std::string_view key, int64_t vocabulary) {
    const Json* value = keys.find(key);
    if (!value) return;
    auto list = value->is(Json::Kind::array) ? value->items() : std::span(value, 1);
    for (const Json& id : list) {
        if (!id.is(Json::Kind::integer)) fail(Status::malformed, keys.place(key), "is no token's number");
        if (id.integer < 0 || id.integer >= vocabulary)
            fail(Status::limit, keys.place(key), "is %lld, the vocabulary has %lld tokens", (long long)id.integer,
                 (long long)vocabulary);
        if (std::find(ids.begin(), ids.end(), int(id.integer)) == ids.end()) ids.push_back(int(id.integer));
    }
}

void read_bos(Config& c, const Keys& keys, std::string_view key) {
    std::vector<int> ids;
    add_ids(ids, keys, key, c.vocabulary);
    if (!ids.empty()) c.bos = ids[0];
}

RopeKind read_kind(const Keys& keys, const std::string& key) {
    constexpr std::pair<std::string_view, RopeKind> kinds[] = {
        {"", RopeKind::standard},     {"none", RopeKind::standard}, {"default", RopeKind::standard},
        {"linear", RopeKind::linear}, {"llama3", RopeKind::llama3}, {"dynamic", RopeKind::dynamic},
        {"yarn", RopeKind::yarn}};
    std::string name = keys.find_string(key);
    for (auto& [known, kind] : kinds)
        if (name == known) return kind;
    fail(Status::unsupported, keys.place(keys.prefix + key),
         "is %.40s; default, linear, llama3, dynamic and yarn are supported", name.c_str());
}

// rope_scaling of older files and rope_parameters of newer ones have the same members; the newer one holds the base
// too.
void read_hub_rope(Config& c, const Keys& top) {
    RopeConfig& r = c.rope;
    const Json* members = top.find("rope_scaling");
    if (!members || !members->count) members = top.find("rope_parameters");
    if (members && !members->is(Json::Kind::object)) fail(Status::malformed, top.place("rope_scaling"), "is no object");
    static const Json none{};
    Keys keys{members ? *members : none, top.file};

    r.base = top.find_real("rope_theta", 1.001, max_base).value_or(r.base);
    r.base = keys.find_real("rope_theta", 1.001, max_base).value_or(r.base);
    for (const Keys* k : {&top, static_cast<const Keys*>(&keys)})
        if (k->find_real("partial_rotary_factor", 0, 1).value_or(1) != 1)
            fail(Status::unsupported, top.place("partial_rotary_factor"),
                 "rotation of a part of each head is not supported");

    r.kind = read_kind(keys, keys.find("rope_type") ? "rope_type" : "type");
    if (r.kind == RopeKind::standard) return;
    r.original = c.context;
    if (r.kind == RopeKind::llama3 || r.kind == RopeKind::yarn) {
        const char* key = "original_max_position_embeddings";
        auto outer = top.find_integer(key, 1, max_context), inner = keys.find_integer(key, 1, max_context);
        r.original = outer ? *outer : inner.value_or(c.context);
    }
    auto factor = keys.find_real("factor", 1e-6, max_factor);
    if (!factor && r.kind != RopeKind::yarn) keys.absent("factor");
    r.factor = factor.value_or(double(c.context) / double(r.original));
    if (r.kind == RopeKind::llama3) {
        r.low_frequency = keys.real("low_freq_factor", 1e-6, max_factor);
        r.high_frequency = keys.real("high_freq_factor", 1e-6, max_factor);
        if (r.high_frequency <= r.low_frequency)
            fail(Status::malformed, keys.place("high_freq_factor"), "is not above low_freq_factor");
    }
    if (r.kind == RopeKind::yarn) {
        r.beta_fast = keys.find_real("beta_fast", 1e-6, max_factor).value_or(r.beta_fast);
        r.beta_slow = keys.find_real("beta_slow", 1e-6, max_factor).value_or(r.beta_slow);
        r.truncate = keys.find_boolean("truncate").value_or(r.truncate);
        r.attention = keys.find_real("attention_factor", 1e-6, max_factor).value_or(0);
        r.mscale = keys.find_real("mscale", 0, max_factor).value_or(0);
        r.mscale_all = keys.find_real("mscale_all_dim", 0, max_factor).value_or(0);
    }
}

void read_generation(GenerationConfig& g, const Keys& keys) {
    g.sample = keys.find_boolean("do_sample");
    g.temperature = keys.find_real("temperature", 0, 100);
    g.top_p = keys.find_real("top_p", 0, 1);
    g.min_p = keys.find_real("min_p", 0, 1);
    g.repetition_penalty = keys.find_real("repetition_penalty", 1e-3, 1e3);
    g.top_k = keys.find_integer("top_k", 0, max_vocabulary);
}

Config read_hub(const Checkpoint& checkpoint) {
    Keys keys{checkpoint.metadata.root(), checkpoint.metadata_path};
    if (!keys.object.is(Json::Kind::object))
        fail(Status::missing, {checkpoint.metadata_path}, "the model's config.json is absent");
    Config c;
    c.name = keys.find_string("_name_or_path");
    const Json* classes = keys.find("architectures");
    bool llama = classes ? classes->items().size() == 1 && classes->items()[0].string() == "LlamaForCausalLM"
                         : keys.find_string("model_type") == "llama";
    if (!classes && !keys.find("model_type")) keys.absent("architectures");
    if (!llama)
        fail(Status::unsupported, keys.place(classes ? "architectures" : "model_type"),
             "is %.60s; LlamaForCausalLM is supported",
             std::string(classes && !classes->items().empty() ? classes->items()[0].string() : "another").c_str());
    for (const char* key : {"attention_bias", "mlp_bias"})
        if (keys.find_boolean(key).value_or(false))
            fail(Status::unsupported, keys.place(key), "biases are not supported");
    if (auto name = keys.find_string("hidden_act"); !name.empty() && name != "silu")
        fail(Status::unsupported, keys.place("hidden_act"), "is %.40s; silu is supported", name.c_str());

    c.architecture = "llama";
    c.quantised = read_quantised_config(checkpoint);
    read_shape(c, keys, hub);
    c.vocabulary = keys.integer("vocab_size", 1, max_vocabulary);
    c.tied = keys.find_boolean("tie_word_embeddings").value_or(false);
    read_hub_rope(c, keys);
    read_bos(c, keys, "bos_token_id");
    add_ids(c.eos, keys, "eos_token_id", c.vocabulary);

    Keys generation{checkpoint.generation.root(), checkpoint.generation_path};
    add_ids(c.eos, generation, "eos_token_id", c.vocabulary);
    read_generation(c.generation, generation);
    return c;
}

// rope_freqs.weight, by which Llama 3's scaling travels.
std::vector<float> read_divisors(const Checkpoint& checkpoint, int64_t head_dim) {
    const Array* array = checkpoint.find("rope_freqs.weight");
    if (!array) return {};
    Place place = checkpoint.place(*array);
    if (array->format != Format::F32)
        fail(Status::unsupported, place, "is stored as %s, not F32", info(array->format).name);
    if (array->rows != 1 || array->columns != head_dim / 2)
        fail(Status::shape, place, "has %lld x %lld numbers, not one for each of %lld pairs", (long long)array->rows,
             (long long)array->columns, (long long)(head_dim / 2));
    std::vector<float> divisors(size_t(array->columns));
    decode_row(Format::F32, array->data, array->columns, divisors.data());
    for (float d : divisors)
        if (!(d >= 1e-6f && d <= 1e6f)) fail(Status::malformed, place, "divides a frequency by %g", double(d));
    return divisors;
}

void read_gguf_rope(Config& c, const Keys& keys, const Checkpoint& checkpoint) {
    RopeConfig& r = c.rope;
    r.base = keys.find_real("rope.freq_base", 1.001, max_base).value_or(r.base);
    if (auto n = keys.find_integer("rope.dimension_count", 0, max_hidden); n.value_or(c.head_dim) != c.head_dim)
        fail(Status::unsupported, keys.place(keys.prefix + "rope.dimension_count"),
             "rotates %lld of a head's %lld columns; only whole heads are supported", (long long)*n,
             (long long)c.head_dim);
    r.divisors = read_divisors(checkpoint, c.head_dim);
    r.kind = read_kind(keys, "rope.scaling.type");
    // The linear scaling of older files has no type.
    if (auto factor = keys.find_real("rope.scale_linear", 1e-6, max_factor); factor && r.kind == RopeKind::standard) {
        r.kind = *factor == 1 ? RopeKind::standard : RopeKind::linear;
        r.factor = *factor;
        return;
    }
    if (r.kind == RopeKind::standard) return;
    if (r.kind != RopeKind::linear && r.kind != RopeKind::yarn)
        fail(Status::unsupported, keys.place(keys.prefix + "rope.scaling.type"), "GGUF knows only linear and yarn");
    r.factor = keys.real("rope.scaling.factor", 1e-6, max_factor);
    r.original = keys.find_integer("rope.scaling.original_context_length", 1, max_context).value_or(c.context);
    if (r.kind == RopeKind::linear) return;
    r.beta_fast = keys.find_real("rope.scaling.yarn_beta_fast", 1e-6, max_factor).value_or(r.beta_fast);
    r.beta_slow = keys.find_real("rope.scaling.yarn_beta_slow", 1e-6, max_factor).value_or(r.beta_slow);
    if (keys.find_real("rope.scaling.yarn_ext_factor", -1, 1).value_or(1) == 0) r.kind = RopeKind::linear;
    // GGUF's factor multiplies what the paper suggests; ours replaces it.
    double attention = keys.find_real("rope.scaling.attn_factor", 1e-6, max_factor).value_or(1) *
                       keys.find_real("rope.scaling.yarn_attn_factor", 1e-6, max_factor).value_or(1);
    if (attention != 1) r.attention = attention * (r.factor > 1 ? 0.1 * std::log(r.factor) + 1 : 1);
}

Config read_gguf(const Checkpoint& checkpoint) {
    Keys all{checkpoint.metadata.root(), checkpoint.metadata_path};
    Config c;
    c.name = all.find_string("general.name");
    c.architecture = all.find_string("general.architecture");
    if (c.architecture.empty()) all.absent("general.architecture");
    if (c.architecture != "llama")
        fail(Status::unsupported, all.place("general.architecture"), "is %.60s; llama is supported",
             c.architecture.c_str());
    Keys keys{all.object, all.file, "llama."};
    if (keys.find_integer("expert_count", 0, 65536).value_or(0))
        fail(Status::unsupported, all.place("llama.expert_count"), "mixtures of experts are not supported");
    read_shape(c, keys, gguf);
    if (keys.find_integer("attention.value_length", 1, max_hidden).value_or(c.head_dim) != c.head_dim)
        fail(Status::unsupported, all.place("llama.attention.value_length"), "differs from the keys' length");

    const Json* tokens = all.find("tokenizer.ggml.tokens");
    const Array *table = checkpoint.find("token_embd.weight"), *head = checkpoint.find("output.weight");
    if (auto size = keys.find_integer("vocab_size", 1, max_vocabulary))
        c.vocabulary = *size;
    else if (tokens || table)
        c.vocabulary = tokens ? tokens->count : table->rows;
    else
        keys.absent("vocab_size");
    if (c.vocabulary < 1 || c.vocabulary > max_vocabulary)
        fail(Status::limit, all.place("tokenizer.ggml.tokens"), "has %lld tokens", (long long)c.vocabulary);
    c.tied = !head;
    c.neighbour_pairs = true;
    read_gguf_rope(c, keys, checkpoint);
    read_bos(c, all, "tokenizer.ggml.bos_token_id");
    add_ids(c.eos, all, "tokenizer.ggml.eos_token_id", c.vocabulary);
    add_ids(c.eos, all, "tokenizer.ggml.eot_token_id", c.vocabulary);
    return c;
}

}  // namespace

Config read_config(const Checkpoint& checkpoint) {
    Config c = checkpoint.kind == Checkpoint::Kind::gguf ? read_gguf(checkpoint) : read_hub(checkpoint);
    refuse_biases(checkpoint);
    if (c.rope.kind == RopeKind::dynamic && c.head_dim < 4)
        fail(Status::unsupported, {checkpoint.metadata_path}, "dynamic RoPE needs heads of 4 columns or more");
    return c;
}

namespace {

// YaRN's ramp: 0 where a pair keeps its frequency, 1 where it is divided by factor.
std::vector<double> yarn_ramp(const RopeConfig& r, int64_t head_dim) {
    // The dimension that turns so many times over the original context.
    auto dimension = [&](double turns) {
        return double(head_dim) * std::log(double(r.original) / (turns * 2 * M_PI)) / (2 * std::log(r.base));
    };
    double low = dimension(r.beta_fast), high = dimension(r.beta_slow);
    if (r.truncate) low = std::floor(low), high = std::ceil(high);
    low = std::max(low, 0.0);
    high = std::min(high, double(head_dim - 1));
    if (low == high) high += 0.001;
    std::vector<double> ramp(size_t(head_dim / 2));
    for (size_t i = 0; i < ramp.size(); ++i) ramp[i] = std::clamp((double(i) - low) / (high - low), 0.0, 1.0);
    return ramp;
}

double yarn_attention(const RopeConfig& r) {
    auto term = [&](double mscale) { return r.factor <= 1 ? 1 : 0.1 * mscale * std::log(r.factor) + 1; };
    if (r.attention) return r.attention;
    return r.mscale && r.mscale_all ? term(r.mscale) / term(r.mscale_all) : term(1);
}

// Long waves are divided by factor, short ones kept, those between mixed by how often they turn.
double llama3_frequency(const RopeConfig& r, double frequency) {
    double turns = double(r.original) * frequency / (2 * M_PI);
    if (turns > r.high_frequency) return frequency;
    if (turns < r.low_frequency) return frequency / r.factor;
    double smooth = (turns - r.low_frequency) / (r.high_frequency - r.low_frequency);
    return (1 - smooth) * frequency / r.factor + smooth * frequency;
}

}  // namespace

RopeFrequencies rope_frequencies(const RopeConfig& r, int64_t head_dim) {
    RopeFrequencies result;
    result.frequency.resize(size_t(head_dim / 2));
    std::vector<double> ramp;
    if (r.kind == RopeKind::yarn) {
        ramp = yarn_ramp(r, head_dim);
        result.scale = yarn_attention(r);
    }
    for (size_t i = 0; i < result.frequency.size(); ++i) {
        double f = std::pow(r.base, -2 * double(i) / double(head_dim));
        if (r.kind == RopeKind::linear) f /= r.factor;
        if (r.kind == RopeKind::llama3) f = llama3_frequency(r, f);
        if (r.kind == RopeKind::yarn) f = f / r.factor * ramp[i] + f * (1 - ramp[i]);
        if (!r.divisors.empty()) f /= r.divisors[i];
        result.frequency[i] = f;
    }
    return result;
}

}  // namespace alia
