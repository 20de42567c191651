// The importance matrix against an independent implementation (tests/truth/imatrix.py), and what must not change it.
#include "engine/imatrix.h"

#include <algorithm>
#include <cmath>

#include "kernels/cpu/isa.h"
#include "tests/files.h"
#include "tests/support.h"

using namespace alia;

namespace {

const std::string models = TEST_DATA "/models/";
const std::vector<int32_t> ids = read_ids(models + "odd.ids.txt");
const std::vector<TokenSpan> sequences = {TokenSpan(ids).first(25), TokenSpan(ids).subspan(25)};

std::vector<std::string> devices() {
    std::vector<std::string> names = {"ref"};
    for (const Kernels* k : cpu::tables()) names.push_back("cpu:" + std::string(k->name).substr(4));
    return names;
}

std::shared_ptr<const Model> load(const std::string& name, const std::string& device = "ref", int threads = 1) {
    return load_model(models + name, {.device = device, .threads = threads});
}

std::vector<float> values(const Array& a) {
    std::vector<float> v(size_t(a.columns), 0.f);
    decode_row(a.format, a.data, a.columns, v.data());
    return v;
}

}  // namespace

TEST_CASE("the matrix equals NumPy's on every device") {
    const Checkpoint expected = open_gguf(TEST_DATA "/imatrix.gguf", {});
    for (const std::string& device : devices()) {
        INFO(device);
        // The products of earlier layers round their inputs to bf16 where the processor multiplies those.
        const bool rounded = device == "cpu:avx512bf16";
        const auto found = measure_importance(*load("odd", device), sequences, {.head = true});
        size_t names = 0;
        for (const Importance& i : found) {
            CHECK(i.tokens == int64_t(ids.size()));
            for (const std::string& name : i.names) {
                INFO(name);
                const Array* sums = expected.find(name + ".in_sum2");
                REQUIRE(sums);
                REQUIRE(sums->columns == int64_t(i.squares.size()));
                const std::vector<float> known = values(*sums);
                const float largest = *std::max_element(known.begin(), known.end());
                for (size_t k = 0; k < known.size(); ++k)
                    REQUIRE(std::fabs(i.squares[k] - known[k]) <= (rounded ? 2e-2f * largest : 1e-4f * known[k]));
                ++names;
            }
        }
        CHECK(2 * names == expected.arrays.size());
    }
}

TEST_CASE("threads change no bit of it, and sequences add up") {
    const auto together = measure_importance(*load("odd", "cpu", 1), sequences);
    const auto threads = measure_importance(*load("odd", "cpu", 3), sequences);
    const auto swapped = measure_importance(*load("odd", "cpu", 1), std::vector<TokenSpan>{sequences[1], sequences[0]});
    const auto first = measure_importance(*load("odd", "cpu", 1), std::span(sequences).first(1));
    const auto second = measure_importance(*load("odd", "cpu", 1), std::span(sequences).subspan(1));
    for (size_t i = 0; i < together.size(); ++i) {
        CHECK(together[i].squares == threads[i].squares);
        for (size_t k = 0; k < together[i].squares.size(); ++k) {
            const double sum = together[i].squares[k];
            REQUIRE(sum == Approx(swapped[i].squares[k]).epsilon(1e-12));
            REQUIRE(sum == Approx(first[i].squares[k] + second[i].squares[k]).epsilon(1e-12));
        }
    }
}

TEST_CASE("a sequence longer than a pass is one sequence") {
    std::vector<int32_t> many;
    for (int i = 0; i < 300; ++i) many.push_back(ids[size_t(i) % ids.size()]);
    const std::vector<TokenSpan> whole = {many}, cut = {TokenSpan(many).first(256), TokenSpan(many).subspan(256)};
    const auto a = measure_importance(*load("odd"), whole), b = measure_importance(*load("odd"), cut);
    CHECK(a[0].tokens == 300);
    CHECK(a[0].squares == b[0].squares);  // the first layer reads the embeddings, whatever stands before them
    CHECK(a.back().squares != b.back().squares);
}

TEST_CASE("a file's names, whether GGUF or not, are GGUF's, and the head is there when asked for") {
    for (const char* name : {"alia", "alia.gguf"}) {
        const auto plain = measure_importance(*load(name), sequences);
        CHECK(plain[0].names ==
              std::vector<std::string>{"blk.0.attn_q.weight", "blk.0.attn_k.weight", "blk.0.attn_v.weight"});
        CHECK(plain.size() == 8);
        CHECK(measure_importance(*load(name), sequences, {.head = true}).back().names[0] == "output.weight");
    }
    const auto tied =
        measure_importance(*load("full-tied"), std::vector<TokenSpan>{TokenSpan(ids).first(3)}, {.head = true});
    CHECK(tied.back().names[0] == "token_embd.weight");
}

TEST_CASE("the file reads back") {
    const Folder folder;
    const std::vector<Importance> found = {{{"blk.0.attn_q.weight", "blk.0.attn_k.weight"}, {1, 2.5, 4}, 7},
                                           {{"blk.0.ffn_down.weight"}, {9}, 7}};
    const std::vector<std::string> datasets = {"es.txt", "eu.txt"};
    const std::string bytes = imatrix_file(found, datasets, 2, 5);
    const Checkpoint c = open_gguf(folder.write("a.gguf", bytes), {});
    CHECK(c.arrays.size() == 6);
    CHECK(values(*c.find("blk.0.attn_k.weight.in_sum2")) == std::vector<float>{1, 2.5, 4});
    CHECK(values(*c.find("blk.0.ffn_down.weight.counts")) == std::vector<float>{7});
    for (const char* text :
         {"general.type", "imatrix.datasets", "es.txt", "eu.txt", "imatrix.chunk_count", "imatrix.chunk_size"})
        CHECK(bytes.find(text) != bytes.npos);
}

TEST_CASE("a model whose numbers are not finite is refused, with the matrix's name") {
    const Array* embed = nullptr;
    const Checkpoint checkpoint = open_checkpoint(models + "odd");
    REQUIRE((embed = checkpoint.find("model.embed_tokens.weight")));
    std::string bytes = read_file(models + "odd/model.safetensors");
    const size_t row = size_t(embed->offset + ids[7] * embed->bytes / embed->rows);
    bytes.replace(row, 2, "\x80\x7F");  // infinity in BF16
    const Folder folder;
    folder.write("config.json", read_file(models + "odd/config.json"));
    folder.write("model.safetensors", bytes);
    const auto model = load_model(folder.path, {.device = "ref", .threads = 1});
    const Error e = error_of([&] { measure_importance(*model, sequences); });
    CHECK(e.status == Status::malformed);
    CHECK(std::string(e.item) == "blk.0.attn_q.weight");
}

TEST_CASE("what cannot be measured is refused") {
    const auto model = load("odd");
    const std::vector<int32_t> wrong = {1, 51};
    CHECK(error_of([&] { measure_importance(*model, {}); }).status == Status::invalid_argument);
    CHECK(error_of([&] { measure_importance(*model, std::vector<TokenSpan>{TokenSpan()}); }).status ==
          Status::invalid_argument);
    CHECK(error_of([&] { measure_importance(*model, std::vector<TokenSpan>{wrong}); }).status ==
          Status::invalid_argument);
    int64_t reports = 0;
    auto stop = [&](const Progress& p) {
        CHECK(p.total == int64_t(ids.size()));
        return ++reports < 2;
    };
    CHECK(error_of([&] { measure_importance(*model, sequences, {.progress = stop}); }).status == Status::cancelled);
    CHECK(reports == 2);
}
