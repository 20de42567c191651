// From named arrays to packed weights.
#include "engine/model.h"

#include <algorithm>
#include <cstdio>

#include "engine/quantised.h"
#include "engine/synthetic.h"
#include "engine/workers.h"

namespace alia {
namespace {

// Two files' names for the same arrays; %d is the layer.
struct Names {
    const char *embed, *attn_norm, *q, *k, *v, *o, *ffn_norm, *gate, *up, *down, *norm, *head;
};
constexpr Names safetensors_names = {
    "model.embed_tokens.weight",
    "model.layers.%d.input_layernorm.weight",
    "model.layers.%d.self_attn.q_proj.weight",
    "model.layers.%d.self_attn.k_proj.weight",
    "model.layers.%d.self_attn.v_proj.weight",
    "model.layers.%d.self_attn.o_proj.weight",
    "model.layers.%d.post_attention_layernorm.weight",
    "model.layers.%d.mlp.gate_proj.weight",
    "model.layers.%d.mlp.up_proj.weight",
    "model.layers.%d.mlp.down_proj.weight",
    "model.norm.weight",
    "lm_head.weight",
};
constexpr Names gguf_names = {
    "token_embd.weight",    "blk.%d.attn_norm.weight",   "blk.%d.attn_q.weight",   "blk.%d.attn_k.weight",
    "blk.%d.attn_v.weight", "blk.%d.attn_output.weight", "blk.%d.ffn_norm.weight", "blk.%d.ffn_gate.weight",
    "blk.%d.ffn_up.weight", "blk.%d.ffn_down.weight",    "output_norm.weight",     "output.weight",
};

// Builds a model twice: without a device it only checks and counts, with one it also takes memory and packs.
class Builder {
  public:
    Builder(const Checkpoint& checkpoint, const Kernels& kernels, Model& model)
        : checkpoint(checkpoint), kernels(kernels), model(model), c(model.config) {}

    void build(const ProgressCallback& report = {}, int64_t bytes = 0) {
        progress = report;
        total = bytes;
        tell(progress, {"weights", 0, total});
        const Names& n = checkpoint.kind == Checkpoint::Kind::gguf ? gguf_names : safetensors_names;
        const Source table = matrix(n.embed, 0, c.vocabulary, c.hidden);
        if (!table.order().empty())
            fail(Status::unsupported, {checkpoint.path, n.embed}, "an embedding table whose columns are reordered");
        // Of one row a token: memory of the device is worth more than what reading it from the host costs.
        const bool on_host = kernels.host_embeddings && !c.tied;
        Weight embed = on_host ? Weight{} : stack({table});
        model.embed = on_host ? host_table(table) : embed[0];
        for (int l = 0; l < c.layers; ++l) {
            Layer w;
            w.attn_norm = vector(n.attn_norm, l);
            w.qkv = stack({turned(matrix(n.q, l, c.q_dim(), c.hidden)), turned(matrix(n.k, l, c.kv_dim(), c.hidden)),
                           matrix(n.v, l, c.kv_dim(), c.hidden)});
            w.o = stack({matrix(n.o, l, c.hidden, c.q_dim())});
            w.ffn_norm = vector(n.ffn_norm, l);
            w.gate_up = stack({matrix(n.gate, l, c.ffn, c.hidden), matrix(n.up, l, c.ffn, c.hidden)});
            w.down = stack({matrix(n.down, l, c.hidden, c.ffn)});
            model.layers.push_back(std::move(w));
        }
        model.norm = vector(n.norm, 0);
        model.head = c.tied ? embed : stack({matrix(n.head, 0, c.vocabulary, c.hidden)});
        model.rope = rope();
        if (model.device) kernels.end_packing(model.device->stream);  // engines have streams of their own
    }

  private:
    // A matrix in the files: an array whose rows are used where they lie, or a quantised weight that is converted.
    struct Source {
        const Array* array;  // or the codes of the quantised weight
        std::optional<Quantised> quantised = {};
        bool neighbours = false;  // rows are permuted so that RoPE turns neighbouring columns

        Format format() const { return quantised ? quantised->format : array->format; }
        int64_t rows() const { return quantised ? quantised->rows : array->rows; }
        int64_t columns() const { return quantised ? quantised->columns : array->columns; }
        bool e4m3_inputs() const { return quantised && quantised->e4m3_inputs; }
        std::span<const int32_t> order() const { return quantised ? quantised->order : std::span<const int32_t>{}; }
        bool stacks_on(const Source& s) const {
            return format() == s.format() && e4m3_inputs() == s.e4m3_inputs() &&
                   std::equal(order().begin(), order().end(), s.order().begin(), s.order().end());
        }
    };

    std::string name_of(const char* pattern, int layer) {
        char name[96];
        std::snprintf(name, sizeof name, pattern, layer);
        return name;
    }

    const Array& find(const std::string& name, int64_t rows, int64_t columns) {
        const Array* a = checkpoint.find(name);
        if (const Array* raw = checkpoint.find_part(name))
            fail(Status::unsupported, checkpoint.place(*raw), "is stored as %s, and config.json does not say how",
                 info(raw->raw).name);
        if (!a)
            fail(Status::missing, {checkpoint.path, name}, "the model needs this tensor and the files do not have it");
        if (a->rows != rows || a->columns != columns)
            fail(Status::shape, checkpoint.place(*a), "%lld rows of %lld, but the configuration asks for %lld of %lld",
                 (long long)a->rows, (long long)a->columns, (long long)rows, (long long)columns);
        return *a;
    }

    Source matrix(const char* pattern, int layer, int64_t rows, int64_t columns) {
        const std::string name = name_of(pattern, layer);
        const auto module = std::string_view(name).substr(0, name.rfind('.') + 1);
        if (auto q = find_quantised(checkpoint, c.quantised, module, rows, columns)) return {q->codes, std::move(q)};
        return {&find(name, rows, columns)};
    }
    Source turned(Source s) {
        s.neighbours = c.neighbour_pairs;
        return s;
    }

    // Row i of the matrix as the model wants it.
    const std::byte* row(const Source& s, int64_t i) {
        if (s.neighbours) {
            const int64_t half = c.head_dim / 2, d = i % c.head_dim;
            i += 2 * (d % half) + d / half - d;
        }
        return s.array->data + i * row_bytes(s.array->format, s.array->columns);
    }

    Weight stack(std::vector<Source> sources) {
        Weight w;
        for (size_t first = 0, last; first < sources.size(); first = last) {
            for (last = first; last < sources.size() && sources[last].stacks_on(sources[first]);) ++last;
            w.push_back(piece(std::span(sources).subspan(first, last - first)));
        }
        return w;
    }

    Piece piece(std::span<const Source> sources) {
        Piece w;
        w.columns = sources[0].columns();
        w.format = sources[0].format();
        w.e4m3_inputs = sources[0].e4m3_inputs() || (checkpoint.drawn && w.format == Format::E4M3);
        for (const Source& s : sources) w.rows += s.rows();
        const auto order = sources[0].order();
        w.ordered = !order.empty();
        model.parameters += w.rows * w.columns;
        if (w.ordered) w.order = static_cast<const int32_t*>(upload(w.format, order.data(), order.size_bytes()));
        int64_t bytes = kernels.packed_bytes(w.format, w.rows, w.columns);
        w.data = take(w.format, bytes);
        if (!model.device) return w;
        if (checkpoint.drawn) {
            draw(w);
        } else {
            pack(w, sources);
            for (const Source& s : sources) forget(s);
        }
        told(bytes);
        return w;
    }

    // Rows in the format's own layout, in memory of the host that the device reads.
    Tensor host_table(const Source& source) {
        Tensor t{nullptr, source.rows(), source.columns(), row_bytes(source.format(), source.columns()),
                 source.format()};
        const int64_t bytes = t.rows * t.stride;
        model.parameters += t.rows * t.columns;
        model.host_bytes += bytes;
        count(t.format, bytes);
        if (!model.device) return t;
        model.host_memory = Buffer(*model.device, bytes, Home::host);
        t.data = model.host_memory.data();
        if (checkpoint.drawn) {
            draw(t);
            told(bytes);
            return t;
        }
        if (source.quantised)
            convert_rows(*source.quantised, 0, t.rows, static_cast<std::byte*>(t.data), model.threads);
        else
            copy_rows(t, source);
        forget(source);
        told(bytes);
        return t;
    }

    // Reading the file's pages is what takes time.
    void copy_rows(Tensor t, const Source& source) {
        const int64_t strip = std::max<int64_t>((4 << 20) / t.stride, 1);
        run_workers(model.threads, (t.rows + strip - 1) / strip, [&](int64_t s) {
            for (int64_t i = s * strip; i < std::min(t.rows, (s + 1) * strip); ++i)
                std::memcpy(t.row<char>(i), row(source, i), size_t(t.stride));
        });
    }

    void draw(Tensor w) { kernels.draw(model.device->stream, w, ++drawn); }

    // A source has been read: the system may have its pages back.
    void forget(const Source& source) {
        checkpoint.files[source.array->file]->forget(source.array->data, size_t(source.array->bytes));
    }
    // Rows [first, end) have been; where rows change places, those of whole heads. Returns the first that is kept.
    int64_t forget(const Source& source, int64_t first, int64_t end) {
        if (source.neighbours) end -= end % c.head_dim;
        const int64_t size = row_bytes(source.array->format, source.array->columns);
        if (first < end)
            checkpoint.files[source.array->file]->forget(source.array->data + first * size,
                                                         size_t((end - first) * size));
        return std::max(first, end);
    }

    void told(int64_t bytes) {
        done += bytes;
        tell(progress, {"weights", done, total});
    }

    // In slices, so that pointers, converted rows and what was read of the file take little memory however many rows
    // there are.
    void pack(const Piece& w, std::span<const Source> sources) {
        constexpr int64_t most = 64 * pack_rows, most_bytes = 4 << 20;
        const int64_t row_size = row_bytes(w.format, w.columns);
        const bool converted = sources[0].quantised.has_value();
        const int64_t slice =
            converted ? std::clamp<int64_t>(most_bytes / row_size / pack_rows * pack_rows, pack_rows, most) : most;
        std::vector<const void*> rows(size_t(std::min(slice, w.rows)));
        std::vector<std::byte> blocks(converted ? rows.size() * size_t(row_size) : 0);
        const Source* source = sources.data();
        int64_t next = 0, kept = 0;  // of the source's rows
        for (int64_t first = 0, count; first < w.rows; first += count) {
            count = std::min(slice, w.rows - first);
            for (int64_t i = 0, n; i < count; i += n, next += n) {
                if (next == source->rows()) ++source, next = kept = 0;
                n = std::min(count - i, source->rows() - next);
                if (converted) convert_rows(*source->quantised, next, n, &blocks[size_t(i * row_size)], model.threads);
                for (int64_t j = 0; j < n; ++j)
                    rows[size_t(i + j)] = converted ? &blocks[size_t((i + j) * row_size)] : row(*source, next + j);
            }
            kernels.pack(model.device->stream, w, first, count, rows.data());
            if (!converted) kept = forget(*source, kept, next);
        }
    }

    const float* vector(const char* pattern, int layer) {
        const Array& a = find(name_of(pattern, layer), 1, c.hidden);
        model.parameters += c.hidden;
        std::vector<float> values(size_t(c.hidden), 1.f);
        if (model.device && !checkpoint.drawn) decode_row(a.format, a.data, c.hidden, values.data());
        return static_cast<const float*>(upload(Format::F32, values.data(), values.size() * sizeof(float)));
    }

    Rope rope() {
        const RopeFrequencies f = rope_frequencies(c.rope, c.head_dim);
        Rope r{.pairs = int(c.head_dim / 2), .scale = float(f.scale)};
        if (c.rope.kind == RopeKind::dynamic) r.factor = c.rope.factor, r.original = int(c.rope.original);
        r.frequency =
            static_cast<const double*>(upload(Format::F32, f.frequency.data(), f.frequency.size() * sizeof(double)));
        return r;
    }

    // Memory of the device for what belongs to weights of this format.
    std::byte* take(Format format, int64_t& bytes) {
        constexpr int64_t aligned = 256;
        bytes = (bytes + aligned - 1) / aligned * aligned;
        const int64_t start = std::exchange(model.bytes, model.bytes + bytes);
        count(format, bytes);
        return model.device ? model.memory.data() + start : nullptr;
    }

    const void* upload(Format format, const void* host, size_t size) {
        int64_t bytes = int64_t(size);
        std::byte* data = take(format, bytes);
        if (!data) return nullptr;
        kernels.write(model.device->stream, data, host, int64_t(size));
        told(bytes);
        return data;
    }

    void count(Format format, int64_t bytes) {
        for (auto& [f, sum] : model.weights)
            if (f == format) return void(sum += bytes);
        model.weights.push_back({format, bytes});
    }

    const Checkpoint& checkpoint;
    const Kernels& kernels;
    Model& model;
    const Config& c;
    ProgressCallback progress;
    int64_t done = 0, total = 0;
    uint64_t drawn = 0;  // matrices
};

// The number behind `key` on a line of a system file, or alone on the first line for an empty key; -1 without one.
int64_t read_number(const char* path, const char* key) {
    FILE* f = std::fopen(path, "re");
    if (!f) return -1;
    long long value = -1;
    char line[256];
    while (std::fgets(line, sizeof line, f)) {
        if (std::strncmp(line, key, std::strlen(key)) != 0) continue;
        if (std::sscanf(line + std::strlen(key), "%lld", &value) != 1) value = -1;
        break;
    }
    std::fclose(f);
    return value;
}

// What the control group still allows; cached files count as room, since the system drops them. -1 without a limit.
int64_t control_group_room() {
    const int64_t most = read_number("/sys/fs/cgroup/memory.max", "");
    const int64_t used = read_number("/sys/fs/cgroup/memory.current", "");
    if (most < 0 || used < 0) return -1;
    const int64_t cached = std::max<int64_t>(read_number("/sys/fs/cgroup/memory.stat", "inactive_file "), 0) +
                           std::max<int64_t>(read_number("/sys/fs/cgroup/memory.stat", "active_file "), 0);
    return std::max<int64_t>(most - used + cached, 1);
}

}  // namespace

int64_t Model::weight_bytes() const {
    int64_t sum = 0;
    for (auto [format, bytes] : weights) sum += bytes;
    return sum;
}

Model outline_model(const Checkpoint& checkpoint, const Kernels& kernels) {
    Model m;
    m.config = read_config(checkpoint);
    m.path = checkpoint.path;
    Builder(checkpoint, kernels, m).build();
    return m;
}

std::shared_ptr<const Model> load_model(const std::string& path, const ModelOptions& options) {
    auto m = std::make_shared<Model>();
    m->path = path;
    tell(options.progress, {"files", 0, 0});
    const Checkpoint checkpoint = open_model_files(path, {.json = options.json});
    m->config = read_config(checkpoint);
    tell(options.progress, {"device", 0, 0});
    auto device = Device::open(options.device, {.threads = options.threads, .pin = options.pin});

    const Model outline = outline_model(checkpoint, device->kernels);
    const int64_t bytes = outline.weight_bytes(), own = bytes - outline.host_bytes + device->kernels.staging_bytes,
                  room = available_memory(*device), host = available_memory();
    if (room > 0 && own > room)
        fail(Status::out_of_memory, {path},
             "its weights take %.1f GiB of %s and %.1f GiB are available; fewer bits a weight take less: see `alia "
             "plan`",
             double(own) / (1 << 30), device->kernels.name, double(room) / (1 << 30));
    if (host > 0 && outline.host_bytes > host)
        fail(Status::out_of_memory, {path}, "its embedding table takes %.1f GiB of the host and %.1f GiB are available",
             double(outline.host_bytes) / (1 << 30), double(host) / (1 << 30));
    tell(options.progress, {"tokenizer", 0, 0});
    m->tokenizer = find_tokenizer(checkpoint, options.json);
    m->chat = find_chat(checkpoint, options.json);
    m->threads = options.threads;
    m->pin = options.pin;
    m->device = std::move(device);
    m->memory = Buffer(*m->device, outline.bytes);
    Builder(checkpoint, m->device->kernels, *m).build(options.progress, bytes);
    return m;
}

int64_t available_memory(const Device& device) {
    const int64_t own = device.kernels.free_bytes(device.stream);
    return own < 0 ? available_memory() : std::max<int64_t>(own, 1);
}

int64_t available_memory() {
    const int64_t machine = read_number("/proc/meminfo", "MemAvailable:"), group = control_group_room();
    if (machine < 0) return std::max<int64_t>(group, 0);
    return group < 0 ? machine * 1024 : std::min(machine * 1024, group);
}

}  // namespace alia
