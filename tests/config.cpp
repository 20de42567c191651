// Config from config.json and from GGUF keys; the frequencies of every RoPE kind.
#include "engine/config.h"

#include <map>

#include "tests/catch.h"

using namespace alia;

namespace {

using Keys = std::map<std::string, std::string>;  // key to JSON

std::string text_of(const Keys& keys) {
    std::string text = "{";
    for (auto& [key, value] : keys) text += (text.size() > 1 ? ",\"" : "\"") + key + "\":" + value;
    return text + "}";
}

// A Salamandra-2b in everything but size.
const Keys hub = {{"architectures", "[\"LlamaForCausalLM\"]"},
                  {"hidden_size", "64"},
                  {"intermediate_size", "160"},
                  {"num_hidden_layers", "3"},
                  {"num_attention_heads", "4"},
                  {"num_key_value_heads", "2"},
                  {"rms_norm_eps", "1e-05"},
                  {"vocab_size", "256"},
                  {"max_position_embeddings", "4096"},
                  {"hidden_act", "\"silu\""},
                  {"bos_token_id", "1"},
                  {"eos_token_id", "2"}};

const Keys gguf = {{"general.architecture", "\"llama\""},
                   {"general.name", "\"Tiny\""},
                   {"llama.embedding_length", "64"},
                   {"llama.feed_forward_length", "160"},
                   {"llama.block_count", "3"},
                   {"llama.attention.head_count", "4"},
                   {"llama.attention.head_count_kv", "2"},
                   {"llama.attention.layer_norm_rms_epsilon", "1e-05"},
                   {"llama.vocab_size", "256"},
                   {"llama.context_length", "4096"},
                   {"tokenizer.ggml.bos_token_id", "1"},
                   {"tokenizer.ggml.eos_token_id", "2"}};

Keys with(Keys base, const Keys& changes) {
    for (auto& [key, value] : changes) base[key] = value;
    return base;
}

Checkpoint checkpoint_of(const Keys& keys, const std::string& generation = "") {
    Checkpoint checkpoint;
    checkpoint.kind = keys.count("general.architecture") ? Checkpoint::Kind::gguf : Checkpoint::Kind::safetensors;
    checkpoint.path = "model";
    checkpoint.metadata_path = "the-metadata";
    checkpoint.generation_path = "the-generation";
    checkpoint.metadata = JsonDocument::parse(text_of(keys), checkpoint.metadata_path);
    if (!generation.empty()) checkpoint.generation = JsonDocument::parse(generation, checkpoint.generation_path);
    return checkpoint;
}

Config read(const Keys& keys, const std::string& generation = "") {
    return read_config(checkpoint_of(keys, generation));
}

// The error must name file and key.
void check_fails(Status status, const Keys& keys, const std::string& key, const std::string& generation = "") {
    INFO(text_of(keys) << " " << generation);
    try {
        read(keys, generation);
    } catch (const Error& e) {
        INFO(e.message);
        CHECK(int(e.status) == int(status));
        CHECK(std::string(e.item) == key);
        CHECK_THAT(std::string(e.message), Catch::StartsWith(generation.empty() ? "the-metadata" : "the-generation"));
        return;
    }
    FAIL("no error");
}

void check_frequencies(const RopeConfig& rope, const std::vector<double>& expected, double scale) {
    auto got = rope_frequencies(rope, int64_t(expected.size()) * 2);
    REQUIRE(got.frequency.size() == expected.size());
    for (size_t i = 0; i < expected.size(); ++i) {
        INFO("pair " << i);
        CHECK(got.frequency[i] == Approx(expected[i]).epsilon(1e-12));
    }
    CHECK(got.scale == Approx(scale).epsilon(1e-12));
}

}  // namespace

TEST_CASE("config.json and GGUF keys give the same configuration") {
    Config a = read(hub), b = read(gguf);
    for (const Config& c : {a, b}) {
        CHECK(c.architecture == "llama");
        CHECK(c.layers == 3);
        CHECK(c.hidden == 64);
        CHECK(c.heads == 4);
        CHECK(c.kv_heads == 2);
        CHECK(c.head_dim == 16);
        CHECK(c.q_dim() == 64);
        CHECK(c.kv_dim() == 32);
        CHECK(c.ffn == 160);
        CHECK(c.vocabulary == 256);
        CHECK(c.context == 4096);
        CHECK(c.eps == 1e-5);
        CHECK(c.bos == 1);
        CHECK(c.eos == std::vector<int>{2});
        CHECK(c.rope.kind == RopeKind::standard);
        CHECK(c.rope.base == 10000);
    }
    CHECK(!a.tied);
    CHECK(!a.neighbour_pairs);
    CHECK(b.tied);  // without output.weight
    CHECK(b.neighbour_pairs);
    CHECK(b.name == "Tiny");
}

TEST_CASE("what may be absent has its usual value") {
    Keys keys = hub;
    for (auto key : {"num_key_value_heads", "bos_token_id", "eos_token_id", "hidden_act"}) keys.erase(key);
    Config c = read(keys);
    CHECK(c.kv_heads == 4);
    CHECK(c.bos == -1);
    CHECK(c.eos.empty());
    CHECK(!c.generation.sample);
    CHECK(read(with(hub, {{"head_dim", "24"}})).head_dim == 24);
    CHECK(read(with(hub, {{"head_dim", "null"}})).head_dim == 16);
    CHECK(read(with(hub, {{"tie_word_embeddings", "true"}})).tied);
    CHECK(read(with(gguf, {{"llama.attention.key_length", "24"}})).head_dim == 24);
    keys.erase("architectures");
    CHECK(read(with(keys, {{"model_type", "\"llama\""}})).layers == 3);
}

TEST_CASE("generation_config.json adds its ends and its defaults") {
    Config c = read(with(hub, {{"eos_token_id", "[2, 7]"}}),
                    R"({"eos_token_id": [5, 2], "do_sample": true, "temperature": 1, "top_p": 0.9, "top_k": 40,
                        "min_p": null, "repetition_penalty": 1.2})");
    CHECK(c.eos == std::vector<int>{2, 7, 5});
    CHECK(c.generation.sample == true);
    CHECK(c.generation.temperature == 1.0);
    CHECK(c.generation.top_p == 0.9);
    CHECK(c.generation.top_k == 40);
    CHECK(!c.generation.min_p);
    CHECK(c.generation.repetition_penalty == 1.2);
    CHECK(read(with(gguf, {{"tokenizer.ggml.eot_token_id", "5"}})).eos == std::vector<int>{2, 5});
    check_fails(Status::limit, hub, "eos_token_id", R"({"eos_token_id": 256})");
    check_fails(Status::limit, hub, "temperature", R"({"temperature": -1})");
    check_fails(Status::malformed, hub, "do_sample", R"({"do_sample": 1})");
    check_fails(Status::malformed, hub, "top_k", R"({"top_k": 1.5})");
}

TEST_CASE("every key that a model needs is missed") {
    for (auto key : {"hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "rms_norm_eps",
                     "vocab_size", "max_position_embeddings", "architectures"}) {
        Keys keys = hub;
        keys.erase(key);
        check_fails(Status::missing, keys, key);
    }
    for (auto& [key, value] : gguf) {
        if (key.starts_with("tokenizer.") || key == "general.name" || key.ends_with("_kv")) continue;
        if (key == "general.architecture") continue;  // tells the helper above that this is GGUF
        Keys keys = gguf;
        keys.erase(key);
        check_fails(Status::missing, keys, key);
    }
    Checkpoint none;
    none.metadata_path = "config.json";
    CHECK_THROWS_AS(read_config(none), Error);
}

TEST_CASE("hostile and unsupported values are refused by name") {
    for (auto key : {"hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
                     "num_key_value_heads", "vocab_size", "max_position_embeddings"}) {
        for (auto value : {"0", "-1", "9223372036854775807"})
            check_fails(Status::limit, with(hub, {{key, value}}), key);
        for (auto value : {"1.5", "1e30", "\"4\"", "[4]", "true", "{}"})
            check_fails(Status::malformed, with(hub, {{key, value}}), key);
    }
    auto fails = [](Status status, const char* key, const char* value) {
        check_fails(status, with(hub, {{key, value}}), key);
    };
    fails(Status::limit, "num_hidden_layers", "1025");
    fails(Status::limit, "vocab_size", "16777217");
    fails(Status::limit, "rms_norm_eps", "0");
    fails(Status::malformed, "rms_norm_eps", "\"1e-5\"");
    fails(Status::malformed, "num_key_value_heads", "3");
    fails(Status::malformed, "num_attention_heads", "6");
    fails(Status::limit, "head_dim", "514");
    fails(Status::unsupported, "head_dim", "15");
    fails(Status::limit, "bos_token_id", "256");
    fails(Status::limit, "eos_token_id", "[2, -1]");
    fails(Status::malformed, "eos_token_id", "\"</s>\"");
    fails(Status::unsupported, "architectures", "[\"MistralForCausalLM\"]");
    fails(Status::unsupported, "architectures", "[]");
    fails(Status::unsupported, "hidden_act", "\"gelu\"");
    fails(Status::unsupported, "attention_bias", "true");
    fails(Status::unsupported, "mlp_bias", "true");
    fails(Status::unsupported, "partial_rotary_factor", "0.5");
    fails(Status::limit, "rope_theta", "0");
    fails(Status::malformed, "rope_scaling", "\"linear\"");
    CHECK(read(with(hub, {{"attention_bias", "false"}, {"quantization_config", "null"}})).layers == 3);
    // Without head_dim it is hidden / heads: 1024 columns a head here.
    check_fails(Status::limit, with(hub, {{"hidden_size", "4096"}}), "head_dim");
}

TEST_CASE("what GGUF keys may not say") {
    auto fails = [](Status status, const char* key, const char* value) {
        check_fails(status, with(gguf, {{key, value}}), key);
    };
    fails(Status::unsupported, "general.architecture", "\"qwen2\"");
    fails(Status::unsupported, "llama.rope.dimension_count", "8");
    fails(Status::unsupported, "llama.expert_count", "8");
    fails(Status::unsupported, "llama.attention.value_length", "8");
    fails(Status::unsupported, "llama.rope.scaling.type", "\"longrope\"");
    fails(Status::malformed, "llama.attention.head_count", "[4, 4, 4]");
    fails(Status::limit, "llama.block_count", "0");
    fails(Status::limit, "tokenizer.ggml.eos_token_id", "256");
    CHECK(read(with(gguf, {{"llama.rope.dimension_count", "16"}, {"llama.expert_count", "0"}})).layers == 3);

    Keys keys = gguf;
    keys.erase("llama.vocab_size");
    keys["tokenizer.ggml.tokens"] = "[\"a\", \"b\", \"c\"]";
    CHECK(read(keys).vocabulary == 3);
}

TEST_CASE("GGUF tensors tell of the vocabulary, ties, biases and Llama 3's scaling") {
    const float numbers[64] = {1, 1, 1, 1, 2, 4, 8, 8};
    auto file = File::from_memory("weights", std::as_bytes(std::span(numbers)));
    auto array = [&](const char* name, int64_t rows, int64_t columns, Format format = Format::F32) {
        return Array{name, format, rows, columns, file->bytes.data(), rows * row_bytes(format, columns), 0, 0};
    };
    Checkpoint checkpoint = checkpoint_of(gguf);
    checkpoint.files = {file};
    checkpoint.arrays = {array("output.weight", 256, 64), array("rope_freqs.weight", 1, 8)};
    Config c = read_config(checkpoint);
    CHECK(!c.tied);
    CHECK(c.rope.kind == RopeKind::standard);
    CHECK(c.rope.divisors == std::vector<float>{1, 1, 1, 1, 2, 4, 8, 8});
    check_frequencies(c.rope,
                      {1, 0.31622776601683794, 0.1, 0.031622776601683794, 0.005, 0.00079056941504209485, 0.000125,
                       3.9528470752104742e-05},
                      1);

    auto status = [&] {
        try {
            read_config(checkpoint);
        } catch (const Error& e) {
            return e.status;
        }
        return Status::ok;
    };
    checkpoint.arrays[1].columns = 7;
    CHECK(int(status()) == int(Status::shape));
    checkpoint.arrays[1] = array("rope_freqs.weight", 1, 8, Format::F16);
    CHECK(int(status()) == int(Status::unsupported));
    checkpoint.arrays[1] = array("rope_freqs.weight", 1, 8);
    checkpoint.arrays[1].data += 32;  // zeros
    CHECK(int(status()) == int(Status::malformed));
    checkpoint.arrays = {array("blk.0.attn_q.bias", 1, 64)};
    CHECK(int(status()) == int(Status::unsupported));
    checkpoint.arrays = {array("blk.0.attn_q.bias", 1, 8)};  // zeros
    checkpoint.arrays[0].data += 32;
    CHECK(int(status()) == int(Status::ok));

    Keys keys = gguf;
    keys.erase("llama.vocab_size");
    checkpoint = checkpoint_of(keys);
    checkpoint.files = {file};
    checkpoint.arrays = {array("token_embd.weight", 77, 64)};
    CHECK(read_config(checkpoint).vocabulary == 77);
}

// Expected frequencies: transformers 5.23.0, ROPE_INIT_FUNCTIONS, in double precision; heads of 16 columns.
TEST_CASE("RoPE: standard and dynamic") {
    const std::vector<double> plain = {1,    0.31622776601683794,   0.1,   0.031622776601683794,
                                       0.01, 0.0031622776601683794, 0.001, 0.00031622776601683794};
    check_frequencies(read(hub).rope, plain, 1);
    check_frequencies(read(with(hub, {{"rope_scaling", "{}"}})).rope, plain, 1);
    check_frequencies(read(with(hub, {{"rope_scaling", R"({"rope_type": "default"})"}})).rope, plain, 1);
    check_frequencies(read(with(gguf, {{"llama.rope.scaling.type", "\"none\""}})).rope, plain, 1);
    RopeConfig dynamic = read(with(hub, {{"rope_scaling", R"({"type": "dynamic", "factor": 2.0})"}})).rope;
    CHECK(dynamic.kind == RopeKind::dynamic);
    CHECK(dynamic.factor == 2);
    CHECK(dynamic.original == 4096);
    check_frequencies(dynamic, plain, 1);
    CHECK(read(with(hub, {{"rope_theta", "500000.0"}})).rope.base == 500000);
    CHECK(read(with(gguf, {{"llama.rope.freq_base", "500000.0"}})).rope.base == 500000);
    CHECK(read(with(hub, {{"rope_parameters", R"({"rope_type": "default", "rope_theta": 1000000})"}})).rope.base ==
          1e6);
}

TEST_CASE("RoPE: linear") {
    const std::vector<double> expected = {0.25,   0.079056941504209485,   0.025,   0.0079056941504209478,
                                          0.0025, 0.00079056941504209474, 0.00025, 7.9056941504209485e-05};
    for (auto scaling : {R"({"type": "linear", "factor": 4.0})", R"({"rope_type": "linear", "factor": 4})"})
        check_frequencies(read(with(hub, {{"rope_scaling", scaling}})).rope, expected, 1);
    check_frequencies(
        read(with(gguf, {{"llama.rope.scaling.type", "\"linear\""}, {"llama.rope.scaling.factor", "4.0"}})).rope,
        expected, 1);
    check_frequencies(read(with(gguf, {{"llama.rope.scale_linear", "4.0"}})).rope, expected, 1);
}

TEST_CASE("RoPE: llama3") {
    check_frequencies(read(with(hub, {{"rope_scaling", R"({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
                         "high_freq_factor": 4.0, "original_max_position_embeddings": 4096})"}}))
                          .rope,
                      {1, 0.31622776601683794, 0.1, 0.031622776601683791, 0.01, 0.0013743247767764462, 0.000125,
                       3.9528470752104742e-05},
                      1);
    check_frequencies(
        read(with(hub, {{"rope_parameters", R"({"rope_type": "llama3", "factor": 20.0, "low_freq_factor": 1.0,
                         "high_freq_factor": 4.0, "original_max_position_embeddings": 8192, "rope_theta": 500000.0})"}}))
            .rope,
        {1, 0.19392274474868576, 0.037606030930863933, 0.0072926647372171085, 0.00044861466944608544,
         1.3712408783810365e-05, 2.6591479484724944e-06, 5.1566926886062296e-07},
        1);
}

TEST_CASE("RoPE: yarn") {
    auto yarn = [](const char* scaling, const char* context) {
        return read(with(hub, {{"rope_scaling", scaling}, {"max_position_embeddings", context}})).rope;
    };
    const std::vector<double> expected = {1,        0.31622776601683794,   0.1,      0.024705294220065462,
                                          0.005625, 0.0010870329456828802, 0.000125, 3.9528470752104742e-05};
    check_frequencies(yarn(R"({"type": "yarn", "factor": 8.0, "original_max_position_embeddings": 4096})", "32768"),
                      expected, 1.2079441541679836);
    // Without a factor it is the ratio of the two contexts.
    check_frequencies(yarn(R"({"type": "yarn", "factor": null, "original_max_position_embeddings": 4096})", "32768"),
                      expected, 1.2079441541679836);
    check_frequencies(read(with(gguf, {{"llama.rope.scaling.type", "\"yarn\""},
                                       {"llama.rope.scaling.factor", "8.0"},
                                       {"llama.context_length", "32768"},
                                       {"llama.rope.scaling.original_context_length", "4096"}}))
                          .rope,
                      expected, 1.2079441541679836);
    // GGUF's factor of attention multiplies the usual one.
    check_frequencies(read(with(gguf, {{"llama.rope.scaling.type", "\"yarn\""},
                                       {"llama.rope.scaling.factor", "8.0"},
                                       {"llama.rope.scaling.attn_factor", "0.5"},
                                       {"llama.rope.scaling.original_context_length", "4096"}}))
                          .rope,
                      expected, 1.2079441541679836 / 2);
    check_frequencies(
        yarn(R"({"type": "yarn", "factor": 8, "original_max_position_embeddings": 4096, "truncate": false})", "32768"),
        {1, 0.31622776601683794, 0.1, 0.028112080847039742, 0.0059831334413176732, 0.00097285775915307269, 0.000125,
         3.9528470752104742e-05},
        1.2079441541679836);
    check_frequencies(
        yarn(R"({"rope_type": "yarn", "factor": 40, "original_max_position_embeddings": 4096, "mscale": 1.0,
                              "mscale_all_dim": 0.707, "beta_fast": 16, "beta_slow": 2})",
             "163840"),
        {1, 0.31622776601683794, 0.1, 0.031622776601683791, 0.0067500000000000017, 0.0011067971810589329, 2.5e-05,
         7.9056941504209471e-06},
        1.0857263992561355);
    check_frequencies(
        read(with(hub, {{"max_position_embeddings", "8192"},
                        {"rope_theta", "1000000.0"},
                        {"rope_scaling", R"({"rope_type": "yarn", "factor": 4, "original_max_position_embeddings": 2048,
                                             "attention_factor": 1.25})"}}))
            .rope,
        {1, 0.17782794100389226, 0.023717082451262847, 0.0028117066259517455, 0.00025, 4.4456985250973067e-05,
         7.9056941504209488e-06, 1.4058533129758728e-06},
        1.25);
}

TEST_CASE("RoPE: what is missing or senseless") {
    auto fails = [](Status status, const char* key, const char* scaling) {
        check_fails(status, with(hub, {{"rope_scaling", scaling}}), key);
    };
    fails(Status::unsupported, "rope_type", R"({"rope_type": "longrope", "factor": 4})");
    fails(Status::unsupported, "type", R"({"type": "su", "factor": 4})");
    fails(Status::missing, "factor", R"({"type": "linear"})");
    fails(Status::missing, "factor", R"({"type": "dynamic"})");
    fails(Status::missing, "low_freq_factor", R"({"rope_type": "llama3", "factor": 8, "high_freq_factor": 4})");
    fails(Status::missing, "high_freq_factor", R"({"rope_type": "llama3", "factor": 8, "low_freq_factor": 1})");
    fails(Status::malformed, "high_freq_factor",
          R"({"rope_type": "llama3", "factor": 8, "low_freq_factor": 1, "high_freq_factor": 1})");
    fails(Status::limit, "factor", R"({"type": "linear", "factor": 0})");
    fails(Status::limit, "original_max_position_embeddings",
          R"({"type": "yarn", "factor": 8, "original_max_position_embeddings": 0})");
    fails(Status::limit, "beta_fast", R"({"type": "yarn", "factor": 8, "beta_fast": -1})");
    fails(Status::malformed, "truncate", R"({"type": "yarn", "factor": 8, "truncate": 1})");
    check_fails(Status::missing, with(gguf, {{"llama.rope.scaling.type", "\"yarn\""}}), "llama.rope.scaling.factor");
    // head_dim - 2 is the dynamic kind's denominator.
    Keys narrow = with(hub, {{"head_dim", "2"}, {"rope_scaling", R"({"type": "dynamic", "factor": 2})"}});
    CHECK_THROWS_AS(read(narrow), Error);
}
