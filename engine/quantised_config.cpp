// What config.json says of quantised weights.
// GPTQ: https://github.com/ModelCloud/GPTQModel/blob/main/gptqmodel/quantization/config.py
// compressed-tensors: https://github.com/vllm-project/compressed-tensors/blob/main/src/compressed_tensors/quantization
// (quant_config.py, quant_args.py)
#include <algorithm>

#include "engine/config.h"
#include "engine/keys.h"

namespace alia {
namespace {

constexpr int64_t max_group = 1 << 22;
constexpr size_t max_schemes = 256;

void read_gptq(QuantisedConfig& q, const Keys& keys) {
    q.method = QuantisedConfig::Method::gptq;
    const int64_t bits = keys.integer("bits", 1, 64), group = keys.integer("group_size", -1, max_group);
    if (bits != 4 && bits != 8)
        fail(Status::unsupported, keys.place("bits"), "is %lld; 4 and 8 are supported", (long long)bits);
    if (group == 0) fail(Status::malformed, keys.place("group_size"), "is 0");
    q.schemes = {{.bits = int(bits), .symmetric = keys.find_boolean("sym").value_or(true), .group = group}};
    q.ordered = keys.find_boolean("desc_act").value_or(false);

    const std::string layout = keys.find_string("checkpoint_format");
    if (!layout.empty() && layout != "gptq" && layout != "gptq_v2")
        fail(Status::unsupported, keys.place("checkpoint_format"), "is %.40s; gptq and gptq_v2 are supported",
             layout.c_str());
    if (keys.find_boolean("is_marlin_format").value_or(false))
        fail(Status::unsupported, keys.place("is_marlin_format"), "weights in Marlin's layout are not supported");
    q.zero_offset = layout != "gptq_v2";
    // Modules with settings of their own; a leading "-:" only leaves some in 16 bits.
    if (const Json* modules = keys.find("dynamic"))
        for (const Json& module : modules->items())
            if (!module.key.starts_with("-:"))
                fail(Status::unsupported, keys.place("dynamic"), "settings of single modules are not supported");
}

QuantisedConfig::Scheme read_scheme(const Keys& keys) {
    QuantisedConfig::Scheme s;
    s.bits = int(keys.integer("num_bits", 1, 64));
    const std::string type = keys.find_string("type"), strategy = keys.find_string("strategy");
    s.floats = type == "float";
    if (!(s.bits == 8 && (s.floats || type == "int" || type.empty())) && !(s.bits == 4 && !s.floats))
        fail(Status::unsupported, keys.place("num_bits"),
             "weights of %d bits of type %.20s; int of 4 and 8 bits and float of 8 are supported", s.bits,
             type.c_str());
    s.symmetric = keys.find_boolean("symmetric").value_or(true);
    const auto group = keys.find_integer("group_size", -1, max_group);
    if (strategy == "tensor" || (strategy.empty() && !group)) {
        s.group = 0;
    } else if (strategy == "group" || (strategy.empty() && *group > 0)) {
        s.group = group ? *group : keys.absent("group_size");
        if (s.group < 1) fail(Status::malformed, keys.place("group_size"), "is %lld", (long long)s.group);
    } else if (!strategy.empty() && strategy != "channel") {
        fail(Status::unsupported, keys.place("strategy"), "is %.40s; tensor, channel and group are supported",
             strategy.c_str());
    }
    return s;
}

// Activations in E4M3, each token's scale computed as it comes. Others are left as they are: that loses nothing.
bool e4m3_tokens(const Keys& group) {
    const Json* value = group.find("input_activations");
    if (!value || !value->is(Json::Kind::object)) return false;
    const Keys inputs{*value, group.file};
    return inputs.find_integer("num_bits", 1, 64) == 8 && inputs.find_string("type") == "float" &&
           inputs.find_string("strategy") == "token" && inputs.find_boolean("dynamic").value_or(false);
}

void check_format(const Keys& keys) {
    const std::string format = keys.find_string("format");
    for (const char* known :
         {"", "pack-quantized", "int-quantized", "float-quantized", "naive-quantized", "mixed-precision"})
        if (format == known) return;
    fail(Status::unsupported, keys.place("format"),
         "is %.60s; pack-quantized, int-quantized and float-quantized are supported", format.c_str());
}

const Json& object(const Keys& keys, const char* key) {
    const Json* value = keys.find(key);
    if (!value) keys.absent(key);
    if (!value->is(Json::Kind::object)) fail(Status::malformed, keys.place(key), "is no object");
    return *value;
}

void read_compressed(QuantisedConfig& q, const Keys& keys) {
    q.method = QuantisedConfig::Method::compressed_tensors;
    check_format(keys);
    if (auto status = keys.find_string("quantization_status"); !status.empty() && status != "compressed")
        fail(Status::unsupported, keys.place("quantization_status"), "is %.40s; compressed is supported",
             status.c_str());
    if (const Json* sparsity = keys.find("sparsity_config"))
        if (auto format = Keys{*sparsity, keys.file}.find_string("format"); !format.empty() && format != "dense")
            fail(Status::unsupported, keys.place("sparsity_config"), "is %.40s; only dense weights are supported",
                 format.c_str());
    if (const Json* transform = keys.find("transform_config"); transform && transform->count)
        fail(Status::unsupported, keys.place("transform_config"), "rotated weights are not supported");
    const Json& groups = object(keys, "config_groups");
    if (groups.count > max_schemes) fail(Status::limit, keys.place("config_groups"), "%u groups", groups.count);
    for (const Json& group : groups.items()) {
        if (!group.is(Json::Kind::object))
            fail(Status::unsupported, keys.place("config_groups"), "schemes by name are not supported");
        const Keys scheme{group, keys.file};
        check_format(scheme);
        if (!scheme.find("weights")) continue;
        q.schemes.push_back(read_scheme({object(scheme, "weights"), keys.file}));
        q.schemes.back().e4m3_inputs = q.schemes.back().floats && e4m3_tokens(scheme);
    }
}

}  // namespace

QuantisedConfig read_quantised_config(const Checkpoint& checkpoint) {
    const Keys top{checkpoint.metadata.root(), checkpoint.metadata_path};
    QuantisedConfig q;
    const char* key = top.find("quantization_config") ? "quantization_config" : "compression_config";
    if (!top.find(key)) return q;
    // Some versions wrap it once more.
    const Keys outer{object(top, key), top.file};
    const Keys keys{outer.find("quantization_config") ? object(outer, "quantization_config") : outer.object, top.file};

    std::string method = keys.find_string("quant_method");
    if (method.empty()) method = outer.find_string("quant_method");
    if (method.empty() && keys.find("config_groups")) method = "compressed-tensors";
    if (method.empty()) keys.absent("quant_method");
    if (method == "gptq")
        read_gptq(q, keys);
    else if (method == "compressed-tensors")
        read_compressed(q, keys);
    else
        fail(Status::unsupported, keys.place("quant_method"),
             "is %.40s; gptq and compressed-tensors are supported, and GGUF files", method.c_str());
    return q;
}

}  // namespace alia
