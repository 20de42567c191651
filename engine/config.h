// What a checkpoint says of its model: the same Config from config.json and from GGUF metadata.
#pragma once
#include <string>
#include <vector>

#include "engine/checkpoint.h"

namespace alia {

enum class RopeKind { standard, linear, llama3, dynamic, yarn };

// https://github.com/huggingface/transformers/blob/main/src/transformers/modeling_rope_utils.py defines the kinds.
struct RopeConfig {
    RopeKind kind = RopeKind::standard;
    double base = 10000;
    double factor = 1;
    int64_t original = 0;                          // positions of the original training, where a kind needs it
    double low_frequency = 1, high_frequency = 4;  // llama3
    double beta_fast = 32, beta_slow = 1;          // yarn
    bool truncate = true;                          // yarn: whole dimensions bound the ramp
    double attention = 0;                          // yarn's factor of cosine and sine; 0: computed from factor
    double mscale = 0, mscale_all = 0;             // yarn: terms of that factor where both are given
    std::vector<float> divisors;                   // [head_dim / 2] of GGUF's rope_freqs.weight, or empty
};

// Sampling defaults of generation_config.json; absent ones are nothing.
struct GenerationConfig {
    std::optional<bool> sample;
    std::optional<double> temperature, top_p, min_p, repetition_penalty;
    std::optional<int64_t> top_k;
};

// How quantised safetensors are stored, beyond what the shapes of their arrays say (engine/quantised.h).
struct QuantisedConfig {
    enum class Method { none, gptq, compressed_tensors };
    struct Scheme {
        int bits = 0;
        bool floats = false;
        bool symmetric = true;
        int64_t group = -1;        // columns that share a scale; -1: a row, 0: the whole tensor
        bool e4m3_inputs = false;  // activations are made for E4M3, with a scale a token that follows from its numbers
    };

    Method method = Method::none;
    std::vector<Scheme> schemes;  // each of some modules; GPTQ has one
    int zero_offset = 0;          // GPTQ: by how much zero points are stored too small
    bool ordered = false;         // GPTQ: groups are not runs of columns (desc_act)
};

struct Config {
    std::string architecture;  // "llama"
    std::string name;          // of the model where the files say one
    int64_t layers = 0, hidden = 0, heads = 0, kv_heads = 0, head_dim = 0, ffn = 0, vocabulary = 0;
    int64_t context = 0;  // positions that the model is made for
    double eps = 1e-5;
    bool tied = false;             // the head is the embedding table (of GGUF only known when its arrays were read)
    bool neighbour_pairs = false;  // rows of Q and K are permuted so that RoPE turns columns 2 i and 2 i + 1 (GGUF)
    RopeConfig rope;
    QuantisedConfig quantised;
    int bos = -1;
    std::vector<int> eos;  // every id that ends a generation
    GenerationConfig generation;

    int64_t q_dim() const { return heads * head_dim; }
    int64_t kv_dim() const { return kv_heads * head_dim; }
};

constexpr int max_head_dim = 512;

// Every number is checked against its siblings and against sane bounds before it is used. Errors: missing, malformed,
// unsupported (architecture, activation, biases, RoPE kind, partial rotation), limit; each names file and key.
Config read_config(const Checkpoint&);

// What config.json says of quantisation: quantization_config or, in older files, compression_config.
QuantisedConfig read_quantised_config(const Checkpoint&);

// Radians a position of each of head_dim / 2 pairs, and the factor of cosine and sine. `dynamic` gives the frequencies
// below `original`; Rope::factor covers the rest.
struct RopeFrequencies {
    std::vector<double> frequency;
    double scale = 1;
};
RopeFrequencies rope_frequencies(const RopeConfig&, int64_t head_dim);

}  // namespace alia
