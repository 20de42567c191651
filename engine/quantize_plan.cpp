// Names of Hugging Face and GGUF side by side, and what becomes of each tensor.
#include "engine/quantize_plan.h"

#include <cstdio>
#include <set>

#include "engine/gguf_metadata.h"

namespace alia {
namespace {

// %d is the layer.
struct Names {
    const char *hub, *gguf;
};
constexpr Names embed = {"model.embed_tokens.weight", "token_embd.weight"};
constexpr Names attn_norm = {"model.layers.%d.input_layernorm.weight", "blk.%d.attn_norm.weight"};
constexpr Names attn_q = {"model.layers.%d.self_attn.q_proj.weight", "blk.%d.attn_q.weight"};
constexpr Names attn_k = {"model.layers.%d.self_attn.k_proj.weight", "blk.%d.attn_k.weight"};
constexpr Names attn_v = {"model.layers.%d.self_attn.v_proj.weight", "blk.%d.attn_v.weight"};
constexpr Names attn_o = {"model.layers.%d.self_attn.o_proj.weight", "blk.%d.attn_output.weight"};
constexpr Names ffn_norm = {"model.layers.%d.post_attention_layernorm.weight", "blk.%d.ffn_norm.weight"};
constexpr Names ffn_gate = {"model.layers.%d.mlp.gate_proj.weight", "blk.%d.ffn_gate.weight"};
constexpr Names ffn_up = {"model.layers.%d.mlp.up_proj.weight", "blk.%d.ffn_up.weight"};
constexpr Names ffn_down = {"model.layers.%d.mlp.down_proj.weight", "blk.%d.ffn_down.weight"};
constexpr Names last_norm = {"model.norm.weight", "output_norm.weight"};
constexpr Names output = {"lm_head.weight", "output.weight"};
constexpr const char* rope_freqs = "rope_freqs.weight";

std::string layer_name(const char* pattern, int64_t layer) {
    char name[96];
    std::snprintf(name, sizeof name, pattern, int(layer));
    return name;
}

class Planner {
  public:
    Planner(const Checkpoint& checkpoint, const Config& config, const QuantizeType& type, const ColumnWeights& weights)
        : checkpoint(checkpoint),
          c(config),
          type(type),
          weights(weights),
          hub(checkpoint.kind == Checkpoint::Kind::safetensors) {}

    std::vector<PlannedTensor> plan() {
        matrix(embed, 0, MatrixKind::embedding, c.vocabulary, c.hidden);
        frequencies();
        for (int64_t l = 0; l < c.layers; ++l) {
            vector(attn_norm, l);
            turn(matrix(attn_q, l, MatrixKind::other, c.q_dim(), c.hidden));
            turn(matrix(attn_k, l, MatrixKind::other, c.kv_dim(), c.hidden));
            matrix(attn_v, l, MatrixKind::v, c.kv_dim(), c.hidden);
            matrix(attn_o, l, MatrixKind::other, c.hidden, c.q_dim());
            vector(ffn_norm, l);
            matrix(ffn_gate, l, MatrixKind::other, c.ffn, c.hidden);
            matrix(ffn_up, l, MatrixKind::other, c.ffn, c.hidden);
            matrix(ffn_down, l, MatrixKind::down, c.hidden, c.ffn);
        }
        vector(last_norm, 0);
        if (!c.tied) matrix(output, 0, MatrixKind::head, c.vocabulary, c.hidden);
        return std::move(tensors);
    }

    void note_rest(std::vector<std::string>& notes) const {
        for (const Array& a : checkpoint.arrays) {
            const bool needless = a.name.ends_with("rotary_emb.inv_freq") || (c.tied && a.name == output.hub);
            if (used.count(&a) || needless || c.quantised.method != QuantisedConfig::Method::none) continue;
            notes.push_back("tensor " + a.name + " has no place in the result and is left out");
        }
    }

  private:
    PlannedTensor& source(Names names, int64_t layer, int64_t rows, int64_t columns) {
        PlannedTensor t;
        t.name = layer_name(names.gguf, layer);
        t.rows = rows;
        t.columns = columns;
        const std::string name = layer_name(hub ? names.hub : names.gguf, layer);
        t.array = checkpoint.find(name);
        if (!t.array && hub)
            t.quantised = find_quantised(checkpoint, c.quantised, name.substr(0, name.rfind('.') + 1), rows, columns);
        if (!t.array && !t.quantised)
            fail(Status::missing, {checkpoint.path, name}, "the model needs this tensor and the files do not have it");
        if (t.array && (t.array->rows != rows || t.array->columns != columns))
            fail(Status::shape, checkpoint.place(*t.array),
                 "%lld rows of %lld, but the configuration asks for %lld of %lld", (long long)t.array->rows,
                 (long long)t.array->columns, (long long)rows, (long long)columns);
        if (t.array) used.insert(t.array);
        return tensors.emplace_back(std::move(t));
    }

    PlannedTensor& matrix(Names names, int64_t layer, MatrixKind kind, int64_t rows, int64_t columns) {
        PlannedTensor& t = source(names, layer, rows, columns);
        t.wanted = wanted_format(type, {kind, layer, c.layers, c.tied, !weights.empty()});
        t.format = fitting_format(t.wanted, columns);
        if (const auto w = weights.find(t.name); w != weights.end()) {
            if (int64_t(w->second.size()) != columns)
                fail(Status::shape, {{}, t.name}, "the importance matrix has %zu columns for this tensor of %lld",
                     w->second.size(), (long long)columns);
            t.importance = &w->second;
        }
        return t;
    }
    void turn(PlannedTensor& t) const {
        if (!c.neighbour_pairs) t.turned = c.head_dim;
    }
    void vector(Names names, int64_t layer) { source(names, layer, 1, c.hidden); }

    void frequencies() {
        if (!hub && checkpoint.find(rope_freqs)) {
            source({rope_freqs, rope_freqs}, 0, 1, c.head_dim / 2);
        } else if (auto divisors = rope_divisors(c); !divisors.empty()) {
            PlannedTensor& t = tensors.emplace_back();
            t.name = rope_freqs;
            t.rows = 1;
            t.columns = int64_t(divisors.size());
            t.made = std::move(divisors);
        }
    }

    const Checkpoint& checkpoint;
    const Config& c;
    const QuantizeType& type;
    const ColumnWeights& weights;
    bool hub;
    std::vector<PlannedTensor> tensors;
    std::set<const Array*> used;
};

}  // namespace

Format PlannedTensor::source_format() const {
    return quantised ? quantised->format : array ? array->format : Format::F32;
}

bool PlannedTensor::decoded() const { return info(source_format()).n > 1 && source_format() != format; }

int64_t PlannedTensor::source_row(int64_t i) const {
    if (!turned) return i;
    const int64_t d = i % turned;
    return i - d + d / 2 + d % 2 * (turned / 2);
}

std::vector<PlannedTensor> plan_quantize(const Checkpoint& checkpoint, const Config& config, const QuantizeType& type,
                                         const ColumnWeights& weights, std::vector<std::string>& notes) {
    Planner planner(checkpoint, config, type, weights);
    auto tensors = planner.plan();
    planner.note_rest(notes);
    size_t without = 0;
    for (const PlannedTensor& t : tensors) without += !t.importance && info(t.format).n > 1;
    if (!weights.empty() && without)
        notes.push_back("the importance matrix says nothing of " + std::to_string(without) +
                        " tensors, whose numbers all count alike");
    return tensors;
}

}  // namespace alia
