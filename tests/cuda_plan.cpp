// Memory of ALIA-40b on cards, from headers alone: files of its size, and nothing in them.
#include "engine/plan.h"
#include "tests/emulated/emulated.h"
#include "tests/files.h"
#include "tests/support.h"

using namespace alia;

namespace {

constexpr double gib = 1 << 30;
constexpr int64_t layers = 48, hidden = 8192, kv = 1024, ffn = 24576, vocabulary = 256000;

std::string write_alia(const Folder& folder) {
    folder.write("config.json",
                 R"({"architectures":["LlamaForCausalLM"],"hidden_size":8192,"intermediate_size":24576,)"
                 R"("num_hidden_layers":48,"num_attention_heads":64,"num_key_value_heads":8,"rms_norm_eps":1e-05,)"
                 R"("vocab_size":256000,"max_position_embeddings":4096,"rope_theta":10000.0,"eos_token_id":2,)"
                 R"("tie_word_embeddings":false})");
    std::string header = "{";
    int64_t end = 0;
    auto add = [&](const std::string& name, int64_t rows, int64_t columns) {
        const std::string shape =
            rows == 1 ? std::to_string(columns) : std::to_string(rows) + "," + std::to_string(columns);
        header += (header.size() > 1 ? ",\"" : "\"") + name + R"(":{"dtype":"BF16","shape":[)" + shape +
                  R"(],"data_offsets":[)" + std::to_string(end) + ",";
        header += std::to_string(end += 2 * rows * columns) + "]}";
    };
    add("model.embed_tokens.weight", vocabulary, hidden);
    for (int l = 0; l < layers; ++l) {
        const std::string layer = "model.layers." + std::to_string(l) + ".";
        add(layer + "input_layernorm.weight", 1, hidden);
        add(layer + "self_attn.q_proj.weight", hidden, hidden);
        add(layer + "self_attn.k_proj.weight", kv, hidden);
        add(layer + "self_attn.v_proj.weight", kv, hidden);
        add(layer + "self_attn.o_proj.weight", hidden, hidden);
        add(layer + "post_attention_layernorm.weight", 1, hidden);
        add(layer + "mlp.gate_proj.weight", ffn, hidden);
        add(layer + "mlp.up_proj.weight", ffn, hidden);
        add(layer + "mlp.down_proj.weight", hidden, ffn);
    }
    add("model.norm.weight", 1, hidden);
    add("lm_head.weight", vocabulary, hidden);
    const std::string path = folder.write("model.safetensors", safetensors(header + "}", ""));
    std::filesystem::resize_file(path, std::filesystem::file_size(path) + uint64_t(end));  // holes take no disk
    return folder.path;
}

int64_t bytes_of(const MemoryPlan& plan, const std::string& name) {
    for (const PlanItem& item : plan.items)
        if (item.name == name) return item.bytes;
    return -1;
}

struct Card {
    const emulated::Machine before = emulated::machine;
    explicit Card(double memory) { emulated::machine.memory = size_t(memory * gib); }
    ~Card() { emulated::machine = before; }
};

}  // namespace

TEST_CASE("CUDA: ALIA-40b in BF16 with 4,096 positions fits a card of 80 GB, and not one of 48") {
    const Folder folder;
    const std::string path = write_alia(folder);
    const EngineOptions options{.context = 4096};
    {
        const Card card(79.6 - 0.6);  // what such a card shows, less what a process's context takes of it
        const MemoryPlan plan = plan_memory(path, {.device = "cuda:0"}, options);
        CHECK(plan.device == "cuda");
        CHECK(plan.total <= plan.available);
        CHECK(bytes_of(plan, "embeddings on the host") == 2 * vocabulary * hidden);
        CHECK(bytes_of(plan, "weights BF16") >= 2 * (int64_t(40433885184) - vocabulary * hidden - 97 * hidden));
        CHECK(bytes_of(plan, "KV cache BF16") == (4096 + page_positions) * (192 << 10));  // padding rows' page
        CHECK(bytes_of(plan, "scratch") > 0);
        CHECK(bytes_of(plan, "sampling") > 0);
        CHECK(double(plan.total) / gib < 73);
        CHECK(plan_memory(path, {.device = "cuda:0"}, {.context = 65536}).total >
              plan.available);  // it can be too much
    }
    const Card card(47.5);
    CHECK(!plan_memory(path, {.device = "cuda:0"}, options).fits());
    const Error e = error_of([&] { load_model(path, {.device = "cuda:0"}); });
    CHECK(e.status == Status::out_of_memory);
}

TEST_CASE("CUDA: ALIA-40b in four bits with 4,096 positions fits a card of 24 GB") {
    auto plan = [](double memory) {
        const Card card(memory);
        return plan_memory("synthetic:alia-40b:q4_0", {.device = "cuda:0"}, {.context = 4096});
    };
    const MemoryPlan fits = plan(23.6 - 0.5);  // what an RTX 4090 shows, less what a process's context takes
    CHECK(fits.total <= fits.available);
    CHECK(fits.fits() == (fits.host_total <= fits.host_available));
    CHECK(bytes_of(fits, "weights Q4_0") > 20e9);
    CHECK(!plan(double(fits.total) / gib - 0.01).fits());
}

TEST_CASE("CUDA: a card with what the plan says and not a byte more loads and answers; with a byte less it does not") {
    const std::string path = "synthetic:tiny:q4_0";
    const ModelOptions model_options{.device = "cuda:0", .threads = 2};
    const Request request{
        .prompt = {1, 2, 3}, .sampling = {.temperature = 1, .repetition = 1.1}, .max_tokens = 4, .ignore_eos = true};
    const emulated::Alive none = emulated::alive();
    for (bool large : {false, true}) {  // an engine takes less than the staging of weights, or more
        const EngineOptions options{
            .context = 64, .positions = large ? 1 << 17 : 0, .sequences = 2, .chunk = 8, .logit_rows = 2};
        const Card plenty(1);
        const MemoryPlan whole = plan_memory(path, model_options, options);
        CHECK((bytes_of(whole, "more while loading") < 0) == large);
        emulated::machine.memory = size_t(whole.total);
        CHECK(plan_memory(path, model_options, options).fits());
        {
            const auto model = load_model(path, model_options);
            CHECK(emulated::alive().pinned == none.pinned + 1);  // the embedding table's, no more that of staging
            Engine engine(model, options);
            CHECK(generate(engine, request).size() == 4);
            CHECK((model->device->kernels.free_bytes(model->device->stream) == 0) == large);
        }
        emulated::machine.memory = size_t(whole.total - 1);
        CHECK(!plan_memory(path, model_options, options).fits());
        const Error e = error_of([&] { Engine(load_model(path, model_options), options); });
        CHECK(e.status == Status::out_of_memory);
        CHECK(emulated::alive() == none);
    }
}
