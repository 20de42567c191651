// Whole models quantised: their logits, their bytes on any number of threads, and what is left after a failure.
#include "engine/quantize.h"

#include <cmath>
#include <random>
#include <sys/stat.h>

#include "engine/gguf_writer.h"
#include "engine/quantize_types.h"
#include "tests/files.h"
#include "tests/support.h"

using namespace alia;

namespace {

const std::string models = TEST_DATA "/models/";

QuantizeReport run(const std::string& source, const std::string& target, const std::string& type, int threads = 2) {
    return quantize(source, target, {.type = type, .threads = threads});
}

std::vector<float> logits(const std::string& path, const std::vector<int32_t>& ids) {
    Engine engine(load_model(path, {.device = "ref"}), {.context = 256});
    return teacher_forced(engine, ids);
}

// Mean square of the difference over that of the numbers.
double distance(const std::vector<float>& a, const std::vector<float>& b) {
    REQUIRE(a.size() == b.size());
    double difference = 0, size = 0;
    for (size_t i = 0; i < a.size(); ++i) {
        difference += double(a[i] - b[i]) * (a[i] - b[i]);
        size += double(b[i]) * b[i];
    }
    return difference / size;
}

size_t files_in(const Folder& folder) {
    size_t count = 0;
    for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(folder.path)) ++count;
    return count;
}

// A model directory of one layer with rows of `hidden` and `ffn` numbers, in BF16. `poke` may change numbers of
// down_proj, of which there are hidden x ffn.
struct Tiny {
    int64_t hidden = 64, ffn = 96, heads = 2, vocabulary = 40;
    std::function<void(std::vector<bf16>&)> poke = [](auto&) {};

    std::string config() const {
        return R"({"architectures":["LlamaForCausalLM"],"num_hidden_layers":1,"num_key_value_heads":1,"rms_norm_eps":1e-05,)"
               R"("max_position_embeddings":64,"rope_theta":10000.0,"eos_token_id":2,"hidden_size":)" +
               std::to_string(hidden) + R"(,"intermediate_size":)" + std::to_string(ffn) +
               R"(,"num_attention_heads":)" + std::to_string(heads) + R"(,"vocab_size":)" + std::to_string(vocabulary) +
               "}";
    }
    void write(const Folder& folder) const {
        std::mt19937 rng(1);
        std::string header, data;
        const auto add = [&](const std::string& name, int64_t rows, int64_t columns) {
            std::vector<bf16> x(size_t(rows * columns));
            std::normal_distribution<float> d(rows == 1 ? 1.f : 0.f, 0.1f);
            for (bf16& v : x) v = to_bf16(d(rng));
            if (name.find("down") != name.npos) poke(x);
            const std::string shape = (rows == 1 ? "" : std::to_string(rows) + ",") + std::to_string(columns);
            header += (header.empty() ? "{\"" : ",\"") + name + R"(":{"dtype":"BF16","shape":[)" + shape +
                      R"(],"data_offsets":[)" + std::to_string(data.size()) + ",";
            data.append(reinterpret_cast<const char*>(x.data()), x.size() * sizeof(bf16));
            header += std::to_string(data.size()) + "]}";
        };
        const std::string l = "model.layers.0.";
        const int64_t dim = hidden / heads;
        add("model.embed_tokens.weight", vocabulary, hidden);
        add(l + "input_layernorm.weight", 1, hidden);
        add(l + "self_attn.q_proj.weight", hidden, hidden);
        add(l + "self_attn.k_proj.weight", dim, hidden);
        add(l + "self_attn.v_proj.weight", dim, hidden);
        add(l + "self_attn.o_proj.weight", hidden, hidden);
        add(l + "post_attention_layernorm.weight", 1, hidden);
        add(l + "mlp.gate_proj.weight", ffn, hidden);
        add(l + "mlp.up_proj.weight", ffn, hidden);
        add(l + "mlp.down_proj.weight", hidden, ffn);
        add("model.norm.weight", 1, hidden);
        add("lm_head.weight", vocabulary, hidden);
        folder.write("config.json", config());
        folder.write("model.safetensors", safetensors(header + "}", data));
    }
};

}  // namespace

TEST_CASE("directories and GGUF files become F32 files of the same logits") {
    for (const char* name : {"alia", "sharded", "full-tied", "odd", "linear-full", "llama3-grouped", "llama3-full",
                             "yarn-full", "yarn-attention-grouped", "alia.gguf", "llama3-grouped.gguf",
                             "formats-6.gguf", "split-00001-of-00002.gguf", "v2.gguf"}) {
        INFO(name);
        Folder folder;
        const std::string stem = std::string(name).substr(0, std::string(name).rfind(".gguf"));
        const bool split = stem.starts_with("split");
        const std::string about =
            models + (split                                                         ? "split"
                      : stem == name || stem.starts_with("formats") || stem == "v2" ? stem
                                                                                    : stem + "-gguf");
        run(models + name, folder.path + "/out.gguf", "F32");
        const auto expected = read_npy(about + ".logits.npy");
        CHECK(distance(logits(folder.path + "/out.gguf", read_ids(about + ".ids.txt")), expected) < 1e-11);
    }
}

TEST_CASE("quantised safetensors are decoded, whatever the order of their columns") {
    const std::string quantised = TEST_DATA "/quantised/";
    size_t count = 0;
    for (const auto& entry : std::filesystem::directory_iterator(quantised)) {
        if (!entry.is_directory()) continue;
        ++count;
        const std::string source = entry.path().string();
        INFO(source);
        Folder folder;
        CHECK(run(source, folder.path + "/out.gguf", "F32").notes.size() >= 1);
        const auto ids = read_ids(source + "/ids.txt");
        CHECK(distance(logits(folder.path + "/out.gguf", ids), read_npy(source + "/logits.npy")) < 1e-11);
    }
    CHECK(count > 10);
}

TEST_CASE("every type stays near the numbers it was made of") {
    const auto ids = read_ids(models + "alia.ids.txt");
    const auto expected = read_npy(models + "alia.logits.npy");
    // About twice what was measured; rows of 128 and 96 numbers make K types fall back.
    const std::pair<const char*, double> bounds[] = {
        {"F16", 3e-6},  {"BF16", 1e-4}, {"Q8_0", 1.5e-3}, {"Q4_0", 0.3},    {"Q4_1", 0.2},
        {"Q5_0", 0.09}, {"Q5_1", 0.05}, {"Q4_K_M", 0.09}, {"Q5_K_M", 0.05}, {"Q6_K", 1.5e-3}};
    for (const auto& [type, bound] : bounds) {
        Folder folder;
        const auto report = run(models + "alia", folder.path + "/out.gguf", type);
        INFO(type);
        CHECK(distance(logits(folder.path + "/out.gguf", ids), expected) < bound);
        CHECK(report.file_bytes == int64_t(std::filesystem::file_size(folder.path + "/out.gguf")));
        CHECK(files_in(folder) == 1);
    }
}

TEST_CASE("the bytes do not depend on threads") {
    Folder folder;
    Tiny{.hidden = 512, .ffn = 768, .vocabulary = 5000}.write(folder);
    for (const char* type : {"Q4_K_M", "Q5_1"}) {
        run(folder.path, folder.path + "/1.gguf", type, 1);
        for (int threads : {2, 5}) {
            run(folder.path, folder.path + "/n.gguf", type, threads);
            CHECK(read_file(folder.path + "/n.gguf") == read_file(folder.path + "/1.gguf"));
        }
    }
    run(folder.path, folder.path + "/n.gguf", "Q4_0", 2);
    CHECK(read_file(folder.path + "/n.gguf") != read_file(folder.path + "/1.gguf"));
}

TEST_CASE("a format that does not fit the row is replaced and told of") {
    Folder folder;
    Tiny{.hidden = 256, .ffn = 5440 / 17}.write(folder);  // 320, as Salamandra-2b's 5,440 no multiple of 256
    const auto report = run(folder.path, folder.path + "/out.gguf", "Q4_K_M");
    int fallbacks = 0;
    for (const QuantizedTensor& t : report.tensors) {
        const bool fits = t.rows == 1 || t.columns % 256 == 0;
        CHECK((t.format == t.wanted) == fits);
        fallbacks += t.format != t.wanted;
        if (t.name == "blk.0.ffn_down.weight") {
            CHECK(t.wanted == Format::Q6_K);
            CHECK(t.format == Format::Q8_0);
        }
    }
    CHECK(fallbacks == 1);
    CHECK(report.notes.size() == 1);  // no tokenizer
}

TEST_CASE("numbers go to the target as they are") {
    Folder folder;
    Tiny{}.write(folder);
    run(folder.path, folder.path + "/out.gguf", "BF16");
    const Checkpoint source = open_checkpoint(folder.path), out = open_checkpoint(folder.path + "/out.gguf");
    const Array &a = *source.find("model.layers.0.mlp.up_proj.weight"), &b = *out.find("blk.0.ffn_up.weight");
    REQUIRE(a.bytes == b.bytes);
    CHECK(std::memcmp(a.data, b.data, size_t(a.bytes)) == 0);
    // Beyond F16's range, and below it: BF16 to Q8_0 keeps what a detour through F16 would lose.
    Folder small;
    Tiny{.poke = [](auto& x) {
        for (bf16& v : x) v = to_bf16(to_float(v) * 1e-6f);
    }}.write(small);
    run(small.path, small.path + "/out.gguf", "BF16");
    const Checkpoint kept = open_checkpoint(small.path + "/out.gguf");
    std::vector<float> row(96);
    decode_row(Format::BF16, kept.find("blk.0.ffn_down.weight")->data, 96, row.data());
    CHECK(std::fabs(row[0]) > 0);
}

TEST_CASE("numbers that are none stop the work, and nothing is left of it") {
    struct Bad {
        float value;
        const char* type;
        Status status;
    };
    const Bad bad[] = {{NAN, "Q4_0", Status::malformed},
                       {INFINITY, "F32", Status::malformed},
                       {-INFINITY, "Q4_K_M", Status::malformed},
                       {1e6f, "F16", Status::limit},
                       {-1e6f, "Q5_1", Status::limit}};
    for (const Bad& b : bad) {
        Folder folder;
        Tiny{.poke = [&](auto& x) { x[96 * 7 + 5] = to_bf16(b.value); }}.write(folder);
        const Error e = error_of([&] { run(folder.path, folder.path + "/out.gguf", b.type); });
        CHECK(e.status == b.status);
        CHECK(std::string(e.item) == "model.layers.0.mlp.down_proj.weight");
        CHECK(std::string(e.message).find("row 7, column 5") != std::string::npos);
        CHECK(files_in(folder) == 2);
    }
    Folder folder;
    Tiny{.poke = [](auto& x) { x[0] = to_bf16(1e6f); }}.write(folder);
    CHECK_NOTHROW(run(folder.path, folder.path + "/out.gguf", "BF16"));
}

TEST_CASE("a cancelled quantisation leaves nothing and keeps what was there") {
    Folder folder;
    Tiny{}.write(folder);
    const std::string target = folder.write("out.gguf", "before");
    int64_t calls = 0, last = 0, total = 0;
    const auto progress = [&](const Progress& p) {
        CHECK(p.done > last);
        last = p.done;
        total = p.total;
        return ++calls < 5;
    };
    const Error e = error_of([&] { quantize(folder.path, target, {.type = "Q8_0", .progress = progress}); });
    CHECK(e.status == Status::cancelled);
    CHECK(read_file(target) == "before");
    CHECK(files_in(folder) == 3);
    calls = -100, last = 0;
    quantize(folder.path, target, {.type = "Q8_0", .progress = progress});
    CHECK(last == total);
    CHECK(read_file(target).starts_with("GGUF"));
}

TEST_CASE("wrong arguments are refused before anything is written") {
    Folder folder;
    Tiny{}.write(folder);
    const auto status = [&](const std::string& target, const std::string& type, const std::string& imatrix = "") {
        return error_of([&] { quantize(folder.path, target, {.type = type, .imatrix = imatrix}); }).status;
    };
    CHECK(status(folder.path + "/o.gguf", "Q3_K") == Status::invalid_argument);
    CHECK(status(folder.path, "Q4_0") == Status::invalid_argument);
    CHECK(status("", "Q4_0") == Status::invalid_argument);
    CHECK(status(folder.path + "/model.safetensors", "Q4_0") == Status::invalid_argument);
    CHECK(status(folder.path + "/config.json", "Q4_0") == Status::invalid_argument);
    REQUIRE(::mkfifo((folder.path + "/fifo").c_str(), 0600) == 0);
    CHECK(status(folder.path + "/fifo", "Q4_0") == Status::invalid_argument);
    CHECK(std::filesystem::is_fifo(folder.path + "/fifo"));
    folder.remove("fifo");
    CHECK(status(folder.path + "/none/o.gguf", "Q4_0") == Status::not_found);
    CHECK(status("/proc/o.gguf", "Q4_0") != Status::ok);
    CHECK(status(folder.path + "/o.gguf", "Q4_0", folder.path + "/none.gguf") == Status::not_found);
    CHECK(files_in(folder) == 2);
    std::filesystem::remove(folder.path + "/model.safetensors");
    CHECK(error_of([&] { run(folder.path, folder.path + "/o.gguf", "Q4_0"); }).status == Status::missing);
    CHECK(error_of([&] { run(models + "yarn-mscale-grouped", folder.path + "/o.gguf", "F32"); }).status ==
          Status::unsupported);
    CHECK(files_in(folder) == 1);
}

namespace {

// An importance matrix for ffn_down that counts its first column alone.
std::string imatrix(int64_t columns, float first, float count = 4) {
    GgufWriter w;
    w.text("general.type", "imatrix");
    const std::string name = "blk.0.ffn_down.weight";
    w.tensor(name + ".in_sum2", Format::F32, 1, columns);
    w.tensor(name + ".counts", Format::F32, 1, 1);
    std::string data;
    for (int64_t k = 0; k < columns; ++k) data += raw(k == 0 ? first : 4e-6f);
    data.append(size_t(GgufWriter::padding(columns * 4)), '\0');
    return w.header() + data + raw(count) + std::string(28, '\0');
}

}  // namespace

TEST_CASE("an importance matrix decides which numbers come out best") {
    Folder folder;
    Tiny{}.write(folder);
    const std::string weights = folder.write("imatrix.gguf", imatrix(96, 4000.f));
    const auto first_column = [&](const std::string& path) {
        quantize(folder.path, folder.path + "/out.gguf", {.type = "Q4_0", .imatrix = path});
        const Checkpoint source = open_safetensors(folder.path, {}), out = open_checkpoint(folder.path + "/out.gguf");
        const Array &a = *source.find("model.layers.0.mlp.down_proj.weight"), &b = *out.find("blk.0.ffn_down.weight");
        std::vector<float> x(96), y(96);
        double error = 0;
        for (int64_t row = 0; row < a.rows; ++row) {
            decode_row(a.format, a.data + row * row_bytes(a.format, 96), 96, x.data());
            decode_row(b.format, b.data + row * row_bytes(b.format, 96), 96, y.data());
            error += double(x[0] - y[0]) * (x[0] - y[0]);
        }
        return error;
    };
    CHECK(first_column(weights) < 0.2 * first_column(""));
    const auto status = [&](const std::string& bytes) {
        const std::string path = folder.write("bad.gguf", bytes);
        return error_of([&] { first_column(path); }).status;
    };
    CHECK(status(imatrix(64, 1)) == Status::shape);
    CHECK(status(imatrix(96, -1)) == Status::malformed);
    CHECK(status(imatrix(96, NAN)) == Status::malformed);
    CHECK(status(imatrix(96, 1, 1e-40f)) == Status::malformed);  // a mean beyond all floats
    CHECK(error_of([&] { quantize(folder.path, weights, {.type = "Q4_0", .imatrix = weights}); }).status ==
          Status::invalid_argument);
    CHECK(status(imatrix(96, 1).substr(0, 300)) == Status::truncated);
    CHECK(status(GgufWriter().header()) == Status::malformed);
    CHECK_NOTHROW(first_column(folder.write("zero.gguf", imatrix(96, 1, 0))));
}

TEST_CASE("keys of a GGUF file come along, those of how it was written do not") {
    Folder folder;
    run(models + "split-00001-of-00002.gguf", folder.path + "/out.gguf", "Q8_0");
    const Checkpoint source = open_checkpoint(models + "split-00001-of-00002.gguf");
    const Checkpoint out = open_checkpoint(folder.path + "/out.gguf");
    const Json& keys = out.metadata.root();
    for (const Json& key : source.metadata.root().items()) {
        INFO(key.key);
        CHECK((keys.find(key.key) != nullptr) == !key.key.starts_with("split."));
    }
    CHECK(keys.find("general.file_type")->integer == 7);
    CHECK(keys.find("general.quantization_version")->integer == 2);
}
