// What config.json says of quantised weights, and each refusal with its key.
#include "engine/config.h"
#include "tests/files.h"

using namespace alia;

namespace {

QuantisedConfig read(const std::string& key, const std::string& value) {
    Checkpoint checkpoint;
    checkpoint.metadata_path = "config.json";
    checkpoint.metadata = JsonDocument::parse("{\"" + key + "\":" + value + "}", checkpoint.metadata_path);
    return read_quantised_config(checkpoint);
}

}  // namespace

TEST_CASE("what is said of quantised weights") {
    const char* plain = R"({"quant_method": "gptq", "bits": 4, "group_size": 128, "sym": true, "desc_act": false})";
    QuantisedConfig q = read("quantization_config", plain);
    CHECK(q.method == QuantisedConfig::Method::gptq);
    REQUIRE(q.schemes.size() == 1);
    CHECK((q.schemes[0].bits == 4 && q.schemes[0].group == 128 && q.schemes[0].symmetric && !q.schemes[0].floats));
    CHECK((q.zero_offset == 1 && !q.ordered));
    q = read("quantization_config", R"({"quant_method": "gptq", "bits": 8, "group_size": -1, "sym": false,
                                             "desc_act": true, "checkpoint_format": "gptq_v2",
                                             "dynamic": {"-:.*lm_head": {}}})");
    CHECK((q.schemes[0].bits == 8 && q.schemes[0].group == -1 && !q.schemes[0].symmetric));
    CHECK((q.zero_offset == 0 && q.ordered));

    const char* groups = R"({"format": "float-quantized", "config_groups": {
        "a": {"weights": {"num_bits": 8, "type": "float", "strategy": "channel", "symmetric": true}, "targets": ["Linear"],
              "input_activations": {"num_bits": 8, "type": "float", "strategy": "token", "dynamic": true}},
        "b": {"weights": {"num_bits": 4, "group_size": 64, "symmetric": false}},
        "c": {"weights": null, "input_activations": {"num_bits": 8}},
        "d": {"weights": {"num_bits": 8, "type": "int"}}}})";
    for (const std::string& wrapped : {std::string(groups), std::string(R"({"quant_method": "compressed-tensors", )") +
                                                                R"("quantization_config": )" + groups + "}"}) {
        q = read(wrapped == groups ? "compression_config" : "quantization_config", wrapped);
        CHECK(q.method == QuantisedConfig::Method::compressed_tensors);
        REQUIRE(q.schemes.size() == 3);
        CHECK((q.schemes[0].floats && q.schemes[0].group == -1 && q.schemes[0].symmetric));
        CHECK((!q.schemes[1].floats && q.schemes[1].group == 64 && !q.schemes[1].symmetric && q.schemes[1].bits == 4));
        CHECK((q.schemes[2].group == 0 && q.schemes[2].bits == 8));
        CHECK((q.schemes[0].e4m3_inputs && !q.schemes[1].e4m3_inputs && !q.schemes[2].e4m3_inputs));
    }
    // Only a scale a token that is computed as the token comes, and only beside weights in E4M3.
    auto rounds = [](const std::string& weights, const std::string& inputs) {
        return read("quantization_config",
                    R"({"quant_method": "compressed-tensors", "config_groups": {"a": {"weights": {)" + weights +
                        R"(}, "input_activations": )" + inputs + "}}}")
            .schemes[0]
            .e4m3_inputs;
    };
    const std::string floats = R"("num_bits": 8, "type": "float", "strategy": "tensor")";
    CHECK(rounds(floats, R"({"num_bits": 8, "type": "float", "strategy": "token", "dynamic": true})"));
    CHECK(!rounds(floats, "null"));
    CHECK(!rounds(floats, R"({"num_bits": 8, "type": "float", "strategy": "tensor", "dynamic": false})"));
    CHECK(!rounds(floats, R"({"num_bits": 4, "type": "float", "strategy": "tensor_group", "dynamic": "local"})"));
    CHECK(!rounds(floats, R"({"num_bits": 8, "type": "int", "strategy": "token", "dynamic": true})"));
    CHECK(!rounds(R"("num_bits": 8, "type": "int", "strategy": "channel")",
                  R"({"num_bits": 8, "type": "float", "strategy": "token", "dynamic": true})"));
    CHECK(read("hidden_size", "64").method == QuantisedConfig::Method::none);
    CHECK(read("quantization_config", "null").method == QuantisedConfig::Method::none);
}

TEST_CASE("quantised weights that are refused by name") {
    auto fails = [](Status status, const char* key, const std::string& value, const char* top = "quantization_config") {
        const Error e = error_of([&] { read(top, value); });
        INFO(value << ": " << e.message);
        CHECK(int(e.status) == int(status));
        CHECK(std::string(e.item) == key);
        CHECK(std::string(e.message).starts_with("config.json, "));
    };
    fails(Status::missing, "quant_method", "{}");
    fails(Status::missing, "quant_method", "{}", "compression_config");
    fails(Status::malformed, "quantization_config", "[]");
    for (const std::string method : {"awq", "bitsandbytes", "fp8", "fbgemm_fp8", "marlin", "exl2", "mxfp4"})
        fails(Status::unsupported, "quant_method", R"({"quant_method": ")" + method + R"(", "bits": 4})");

    auto gptq = [&](Status status, const char* key, const std::string& more) {
        fails(status, key, R"({"quant_method": "gptq", )" + more + "}");
    };
    gptq(Status::missing, "bits", R"("group_size": 128)");
    gptq(Status::missing, "group_size", R"("bits": 4)");
    gptq(Status::unsupported, "bits", R"("group_size": 128, "bits": 3)");
    gptq(Status::limit, "bits", R"("group_size": 128, "bits": 1000000)");
    gptq(Status::malformed, "group_size", R"("group_size": 0, "bits": 4)");
    gptq(Status::limit, "group_size", R"("group_size": -2, "bits": 4)");
    gptq(Status::malformed, "sym", R"("group_size": 32, "bits": 4, "sym": "yes")");
    gptq(Status::unsupported, "checkpoint_format", R"("group_size": 32, "bits": 4, "checkpoint_format": "marlin")");
    gptq(Status::unsupported, "is_marlin_format", R"("group_size": 32, "bits": 4, "is_marlin_format": true)");
    gptq(Status::unsupported, "dynamic", R"("group_size": 32, "bits": 4, "dynamic": {"+:.*": {"bits": 8}})");

    auto compressed = [&](Status status, const char* key, const std::string& more) {
        fails(status, key, R"({"quant_method": "compressed-tensors", )" + more + "}");
    };
    auto scheme = [&](Status status, const char* key, const std::string& weights) {
        compressed(status, key, R"("config_groups": {"a": {"weights": {)" + weights + "}}}");
    };
    compressed(Status::missing, "config_groups", R"("format": "pack-quantized")");
    compressed(Status::malformed, "config_groups", R"("config_groups": [])");
    compressed(Status::unsupported, "config_groups", R"("config_groups": {"W8A8": ["Linear"]})");
    compressed(Status::unsupported, "format", R"("config_groups": {}, "format": "marlin-24")");
    compressed(Status::unsupported, "format", R"("config_groups": {"a": {"format": "nvfp4-pack-quantized"}})");
    compressed(Status::unsupported, "quantization_status", R"("config_groups": {}, "quantization_status": "frozen")");
    compressed(Status::unsupported, "sparsity_config",
               R"("config_groups": {}, "sparsity_config": {"format": "sparse-24-bitmask"})");
    compressed(Status::unsupported, "transform_config",
               R"("config_groups": {}, "transform_config": {"config_groups": {}})");
    scheme(Status::missing, "num_bits", R"("type": "int")");
    scheme(Status::unsupported, "num_bits", R"("type": "int", "num_bits": 2)");
    scheme(Status::unsupported, "num_bits", R"("type": "float", "num_bits": 4)");
    scheme(Status::unsupported, "num_bits", R"("type": "mx", "num_bits": 8)");
    scheme(Status::unsupported, "strategy", R"("num_bits": 8, "type": "float", "strategy": "block")");
    scheme(Status::missing, "group_size", R"("num_bits": 4, "strategy": "group")");
    scheme(Status::malformed, "group_size", R"("num_bits": 4, "strategy": "group", "group_size": -1)");
    scheme(Status::limit, "group_size", R"("num_bits": 4, "group_size": 99999999999)");
}
