// Tiny files of every checkpoint format, valid to the last byte, for tests that then damage them.
#pragma once
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/formats.h"

namespace tiny {

template <class T>
std::string bytes_of(T value) {
    return {reinterpret_cast<const char*>(&value), sizeof value};
}

inline std::string header_of(std::string json) { return bytes_of(uint64_t(json.size())) + json; }

inline std::string config_json() {
    return R"({"architectures":["LlamaForCausalLM"],"hidden_size":32,"intermediate_size":64,"num_hidden_layers":1,)"
           R"("num_attention_heads":2,"num_key_value_heads":1,"rms_norm_eps":1e-05,"vocab_size":8,)"
           R"("max_position_embeddings":64,"rope_theta":10000.0,"eos_token_id":[2,5],"rope_scaling":{"rope_type":"yarn",)"
           R"("factor":2.0,"original_max_position_embeddings":32,"mscale":1.0,"mscale_all_dim":0.5}})";
}

inline std::string safetensors() {
    return header_of(R"({"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},)"
                     R"("b":{"dtype":"BF16","shape":[4],"data_offsets":[24,32]}})") +
           std::string(32, '\x3f');
}

// Two shards and their index.
inline std::string shard(int i) {
    std::string name = i == 1 ? "a" : "b";
    return header_of(R"({")" + name + R"(":{"dtype":"F16","shape":[3],"data_offsets":[0,6]}})") +
           std::string(6, '\x3c');
}
inline std::string shard_name(int i) { return "model-0000" + std::to_string(i) + "-of-00002.safetensors"; }
inline std::string shard_index() {
    return R"({"metadata":{"total_size":12},"weight_map":{"a":")" + shard_name(1) + R"(","b":")" + shard_name(2) +
           R"("}})";
}

// Writes GGUF: keys and tensors in any order, then file().
class Gguf {
  public:
    uint32_t version = 3;
    uint64_t alignment = 32;

    static std::string text(std::string_view s) { return bytes_of(uint64_t(s.size())) + std::string(s); }

    // `value` is in GGUF's own layout, type included.
    void key(std::string_view name, std::string value) {
        keys += text(name) + std::move(value);
        ++key_count;
    }
    template <class T>
    void number(std::string_view name, uint32_t type, T value) {
        key(name, bytes_of(type) + bytes_of(value));
    }
    void integer(std::string_view name, uint32_t value) { number(name, 4, value); }
    void real(std::string_view name, float value) { number(name, 6, value); }
    void string(std::string_view name, std::string_view value) { key(name, bytes_of(uint32_t(8)) + text(value)); }

    void tensor(std::string_view name, std::vector<uint64_t> shape, alia::Format format) {
        uint64_t rows = 1;
        for (size_t i = 1; i < shape.size(); ++i) rows *= shape[i];
        data.resize((data.size() + alignment - 1) / alignment * alignment);
        tensors += text(name) + bytes_of(uint32_t(shape.size()));
        for (uint64_t n : shape) tensors += bytes_of(n);
        tensors += bytes_of(uint32_t(alia::info(format).gguf)) + bytes_of(uint64_t(data.size()));
        data += std::string(size_t(rows) * size_t(alia::row_bytes(format, int64_t(shape[0]))), '\x3f');
        ++tensor_count;
    }

    // All up to where the tensors start.
    std::string header() const {
        std::string h = "GGUF" + bytes_of(version) + bytes_of(tensor_count) + bytes_of(key_count) + keys + tensors;
        h.resize((h.size() + alignment - 1) / alignment * alignment);
        return h;
    }
    std::string file() const { return header() + data; }

  private:
    std::string keys, tensors, data;
    uint64_t key_count = 0, tensor_count = 0;
};

// A model of one layer's keys, with a value of every type and a tensor of several formats.
inline Gguf gguf() {
    Gguf g;
    g.string("general.architecture", "llama");
    g.integer("general.alignment", 32);
    g.integer("llama.embedding_length", 32);
    g.integer("llama.feed_forward_length", 64);
    g.integer("llama.block_count", 1);
    g.integer("llama.attention.head_count", 2);
    g.integer("llama.context_length", 64);
    g.real("llama.attention.layer_norm_rms_epsilon", 1e-5f);
    g.number("a.u8", 0, uint8_t(1));
    g.number("a.i8", 1, int8_t(-1));
    g.number("a.u16", 2, uint16_t(2));
    g.number("a.i16", 3, int16_t(-2));
    g.number("a.i32", 5, int32_t(-3));
    g.number("a.bool", 7, uint8_t(1));
    g.number("a.u64", 10, uint64_t(1) << 63);
    g.number("a.i64", 11, int64_t(-4));
    g.number("a.f64", 12, 0.5);
    std::string tokens = bytes_of(uint32_t(9)) + bytes_of(uint32_t(8)) + bytes_of(uint64_t(3));
    for (auto token : {"<s>", "a", "bc"}) tokens += Gguf::text(token);
    g.key("tokenizer.ggml.tokens", tokens);
    // [[7], []]
    std::string inner =
        bytes_of(uint32_t(0)) + bytes_of(uint64_t(1)) + "\x07" + bytes_of(uint32_t(0)) + bytes_of(uint64_t(0));
    g.key("a.nested", bytes_of(uint32_t(9)) + bytes_of(uint32_t(9)) + bytes_of(uint64_t(2)) + inner);
    g.tensor("token_embd.weight", {32, 3}, alia::Format::Q8_0);
    g.tensor("output_norm.weight", {32}, alia::Format::F32);
    g.tensor("rope_freqs.weight", {8}, alia::Format::F32);
    g.tensor("blk.0.ffn_down.weight", {256, 2, 1}, alia::Format::Q6_K);
    return g;
}

}  // namespace tiny
