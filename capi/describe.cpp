// What a model is and what it would take of memory, as JSON.
#include "capi/json_writer.h"
#include "capi/request.h"
#include "engine/plan.h"

namespace alia::capi {
namespace {

const char* name(RopeKind kind) {
    switch (kind) {
        case RopeKind::standard:
            return "default";
        case RopeKind::linear:
            return "linear";
        case RopeKind::llama3:
            return "llama3";
        case RopeKind::dynamic:
            return "dynamic";
        case RopeKind::yarn:
            return "yarn";
    }
    return "";
}

void write_rope(JsonWriter& json, const RopeConfig& rope) {
    json.key("rope").open('{');
    json.key("kind").text(name(rope.kind));
    json.key("base").real(rope.base);
    if (rope.kind != RopeKind::standard) json.key("factor").real(rope.factor);
    if (rope.original) json.key("original_context").integer(rope.original);
    if (!rope.divisors.empty()) json.key("divisors").integer(int64_t(rope.divisors.size()));
    json.close('}');
}

void write_sampling(JsonWriter& json, const Sampling& s) {
    json.key("sampling").open('{');
    json.key("temperature").real(s.temperature);
    json.key("top_k").integer(s.top_k);
    json.key("top_p").real(s.top_p);
    json.key("min_p").real(s.min_p);
    json.key("repetition_penalty").real(s.repetition);
    json.close('}');
}

void write_model(JsonWriter& json, const ModelHandle& m) {
    const Config& c = m.model->config;
    json.key("name").text(c.name);
    json.key("architecture").text(c.architecture);
    json.key("parameters").integer(m.model->parameters);
    json.key("layers").integer(c.layers);
    json.key("hidden").integer(c.hidden);
    json.key("heads").integer(c.heads);
    json.key("kv_heads").integer(c.kv_heads);
    json.key("head_dim").integer(c.head_dim);
    json.key("ffn").integer(c.ffn);
    json.key("vocabulary").integer(c.vocabulary);
    json.key("context").integer(c.context);
    json.key("norm_epsilon").real(c.eps);
    json.key("tied_embeddings").boolean(c.tied);
    write_rope(json, c.rope);
    json.key("device").text(m.kernels->name);
    json.key("weights").open('[');
    for (auto [format, bytes] : m.model->weights) {
        json.open('{');
        json.key("format").text(info(format).name);
        json.key("bytes").integer(bytes);
        json.close('}');
    }
    json.close(']');
    const Tensor& embed = m.model->embed;
    json.key("embedding").open('{');
    json.key("format").text(info(embed.format).name);
    json.key("bytes").integer(m.kernels->packed_bytes(embed.format, embed.rows, embed.columns));
    json.close('}');
    write_sampling(json, default_sampling(c.generation));
}

const char* load_name(int32_t load) {
    return load == ALIA_LOAD_TEXT ? "text" : load == ALIA_LOAD_HEADERS ? "headers" : "all";
}

}  // namespace

std::string describe(const ModelHandle& m) {
    JsonWriter json;
    json.open('{');
    json.key("path").text(m.path);
    json.key("load").text(load_name(m.load));
    if (m.model) write_model(json, m);
    json.key("bos").integer(m.bos);
    json.key("eos").open('[');
    for (int32_t token : m.eos) json.integer(token);
    json.close(']');
    json.key("tokenizer");
    if (m.tokenizer) {
        json.open('{');
        json.key("vocabulary").integer(m.tokenizer->size());
        json.close('}');
    } else {
        json.null();
    }
    json.close('}');
    return json.out;
}

namespace {

std::string describe(const MemoryPlan& plan) {
    JsonWriter json;
    json.open('{');
    json.key("device").text(plan.device);
    json.key("items").open('[');
    for (const PlanItem& item : plan.items) {
        json.open('{');
        json.key("name").text(item.name);
        json.key("bytes").integer(item.bytes);
        if (item.host) json.key("host").boolean(true);
        json.close('}');
    }
    json.close(']');
    json.key("total").integer(plan.total);
    json.key("available").integer(plan.available);
    if (plan.host_total) {
        json.key("host_total").integer(plan.host_total);
        json.key("host_available").integer(plan.host_available);
    }
    json.key("fits").boolean(plan.fits());
    json.close('}');
    return json.out;
}

}  // namespace
}  // namespace alia::capi

using namespace alia::capi;

alia_status alia_model_info(alia_model* model, char** json, uint64_t* length) {
    return guard([&] {
        auto m = find_model(model);
        not_null(json, "json");
        not_null(length, "length");
        give_text(describe(*m), json, length);
    });
}

alia_status alia_plan(const char* path, uint64_t path_length, const alia_model_options* model_given,
                      const alia_engine_options* engine_given, char** json, uint64_t* length) {
    return guard([&] {
        std::string where = given_path(path, path_length, "path");
        not_null(json, "json");
        not_null(length, "length");
        alia_model_options model = read_options(model_given, ALIA_MODEL_OPTIONS_INIT, "model_options");
        alia_engine_options engine = read_options(engine_given, ALIA_ENGINE_OPTIONS_INIT, "engine_options");
        give_text(describe(alia::plan_memory(where, model_options(model), engine_options(engine))), json, length);
    });
}
