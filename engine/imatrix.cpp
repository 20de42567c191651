// The importance matrix, gathered from the inputs of the matrix products.
#include "engine/imatrix.h"

#include <cfloat>
#include <unordered_map>

#include "engine/gguf_writer.h"
#include "engine/runner.h"

namespace alia {
namespace {

constexpr int pass_tokens = 256;

class Gatherer {
  public:
    Gatherer(const Model& m, const ImportanceOptions& o, Device& device) : device(device) {
        const Config& c = m.config;
        for (int64_t l = 0; l < c.layers; ++l) {
            const Layer& w = m.layers[size_t(l)];
            const std::string block = "blk." + std::to_string(l) + ".";
            add(w.qkv, c.hidden, {block + "attn_q.weight", block + "attn_k.weight", block + "attn_v.weight"});
            add(w.o, c.q_dim(), {block + "attn_output.weight"});
            add(w.gate_up, c.hidden, {block + "ffn_gate.weight", block + "ffn_up.weight"});
            add(w.down, c.ffn, {block + "ffn_down.weight"});
        }
        if (o.head) add(m.head, c.hidden, {c.tied ? "token_embd.weight" : "output.weight"});
    }

    Observer observer() {
        return {[](void* self, Tensor x, const Weight& w) { static_cast<Gatherer*>(self)->see(x, w); }, this};
    }

    std::vector<Importance> take() {
        for (const Importance& i : found)
            for (double sum : i.squares)
                if (!(sum <= FLT_MAX)) fail(Status::malformed, {{}, i.names[0]}, "its inputs are not finite numbers");
        return std::move(found);
    }

  private:
    void add(const Weight& w, int64_t columns, std::vector<std::string> names) {
        place[&w] = found.size();
        found.push_back({std::move(names), std::vector<double>(size_t(columns), 0.0)});
    }

    void see(Tensor x, const Weight& w) {
        const auto at = place.find(&w);
        if (at == place.end() || x.rows == 0) return;
        Importance& i = found[at->second];
        const int64_t bytes = (x.rows - 1) * x.stride + x.columns * int64_t(sizeof(float));
        rows.resize(size_t(bytes) / sizeof(float));
        device.kernels.read(device.stream, rows.data(), x.data, bytes);
        for (int64_t row = 0; row < x.rows; ++row) {
            const float* value = rows.data() + row * x.stride / int64_t(sizeof(float));
            for (double& sum : i.squares) sum += double(*value) * double(*value), ++value;
        }
        i.tokens += x.rows;
    }

    Device& device;
    std::unordered_map<const Weight*, size_t> place;
    std::vector<Importance> found;
    std::vector<float> rows;
};

void check_sequences(const Config& c, std::span<const TokenSpan> sequences) {
    if (sequences.empty()) fail(Status::invalid_argument, {{}, "sequences"}, "there are none");
    for (TokenSpan ids : sequences) {
        if (ids.empty()) fail(Status::invalid_argument, {{}, "sequences"}, "one has no tokens");
        for (int32_t id : ids)
            if (id < 0 || id >= c.vocabulary)
                fail(Status::invalid_argument, {{}, "ids"}, "token %d is not in the vocabulary of %lld", id,
                     (long long)c.vocabulary);
    }
}

}  // namespace

std::vector<Importance> measure_importance(const Model& model, std::span<const TokenSpan> sequences,
                                           const ImportanceOptions& options) {
    check_sequences(model.config, sequences);
    size_t longest = 0, total = 0;
    for (TokenSpan ids : sequences) longest = std::max(longest, ids.size()), total += ids.size();

    Device device(model.device->kernels, {.threads = options.threads ? options.threads : model.threads});
    Cache cache(device, model.config, int64_t(longest), Format::F32);
    Runner runner(device, model, {pass_tokens, options.head ? pass_tokens : 1, 1, int64_t(longest)});
    Gatherer gatherer(model, options, device);
    int64_t done = 0;
    for (TokenSpan ids : sequences) {
        Sequence sequence(cache);
        for (TokenSpan rest = ids; !rest.empty();) {
            const TokenSpan next = rest.first(std::min<size_t>(rest.size(), pass_tokens));
            sequence.append(next, Role::prompt);
            if (!sequence.take_pages(int64_t(next.size()))) fail(Status::internal, "the cache has too few pages");
            const Work work{&sequence, int(next.size()), options.head ? int(next.size()) : 0};
            runner.run(cache, Role::prompt, {&work, 1}, gatherer.observer());
            sequence.advance(int64_t(next.size()));
            done += int64_t(next.size());
            rest = rest.subspan(next.size());
            tell(options.progress, {"tokens", done, int64_t(total)});
        }
    }
    return gatherer.take();
}

std::string imatrix_file(std::span<const Importance> importances, std::span<const std::string> datasets,
                         int64_t sequences, int64_t longest) {
    GgufWriter gguf;
    gguf.text("general.type", "imatrix");
    gguf.texts("imatrix.datasets", datasets);
    gguf.integer("imatrix.chunk_count", uint32_t(sequences));
    gguf.integer("imatrix.chunk_size", uint32_t(longest));
    std::string data;
    auto tensor = [&](const std::string& name, std::span<const float> values) {
        gguf.tensor(name, Format::F32, 1, int64_t(values.size()));
        data.append(reinterpret_cast<const char*>(values.data()), values.size_bytes());
        data.append(size_t(GgufWriter::padding(int64_t(values.size_bytes()))), '\0');
    };
    for (const Importance& i : importances) {
        const std::vector<float> squares(i.squares.begin(), i.squares.end());
        const float tokens = float(i.tokens);
        for (const std::string& name : i.names) {
            tensor(name + ".in_sum2", squares);
            tensor(name + ".counts", {&tokens, 1});
        }
    }
    return gguf.header() + data;
}

}  // namespace alia
