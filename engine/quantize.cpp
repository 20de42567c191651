// Plan, header, then row after row.
#include "engine/quantize.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <set>

#include "engine/encode.h"
#include "engine/gguf_metadata.h"
#include "engine/gguf_tokenizer.h"
#include "engine/output_file.h"
#include "engine/quantize_plan.h"
#include "engine/workers.h"

namespace alia {
namespace {

constexpr int64_t chunk_numbers = 1 << 16;  // that a worker takes at once
constexpr int64_t window_bytes = int64_t(32) << 20;

[[noreturn]] void bad_number(const Checkpoint& checkpoint, const PlannedTensor& t, int64_t row, int64_t column,
                             float value) {
    Place place{checkpoint.path, t.name};
    if (t.array) {
        place = checkpoint.place(*t.array);
        place.offset += row * row_bytes(t.array->format, t.columns);
    }
    if (!std::isfinite(value))
        fail(Status::malformed, place, "row %lld, column %lld is %s", (long long)row, (long long)column,
             std::isnan(value) ? "not a number" : "infinite");
    fail(Status::limit, place, "row %lld, column %lld is %g, and %s holds numbers up to %g", (long long)row,
         (long long)column, double(value), info(t.format).name, double(largest_encoded(t.format)));
}

// One tensor's rows on their way from the source to bytes of the target.
class Converter {
  public:
    Converter(const Checkpoint& checkpoint, const PlannedTensor& t, int threads)
        : checkpoint(checkpoint),
          t(t),
          threads(threads),
          from(t.source_format()),
          row_size(row_bytes(t.format, t.columns)) {}

    // Rows that one call of convert() takes: whole heads where rows move within one.
    int64_t window() const {
        const int64_t largest = std::max({row_size, t.quantised ? t.quantised->row_bytes() : 0, int64_t(1)});
        const int64_t wanted = chunk_rows() * 16 * thread_count(threads);
        const int64_t rows = std::clamp(window_bytes / largest, int64_t(1), std::max(wanted, int64_t(1)));
        return t.turned ? (rows + t.turned - 1) / t.turned * t.turned : rows;
    }

    // Rows [first, first + count) of the result.
    std::string_view convert(int64_t first, int64_t count) {
        first_row = first;
        out.resize(size_t(count * row_size));
        if (t.quantised) {
            blocks.resize(size_t(count * t.quantised->row_bytes()));
            convert_rows(*t.quantised, first, count, blocks.data(), threads);
        }
        const int64_t step = chunk_rows();
        run_workers(threads, (count + step - 1) / step, [&](int64_t chunk) {
            std::vector<float> row(size_t(t.columns)), placed;
            for (int64_t i = chunk * step; i < std::min(count, (chunk + 1) * step); ++i) encode(i, row, placed);
        });
        if (t.array) {
            const int64_t size = row_bytes(t.array->format, t.columns);
            checkpoint.files[size_t(t.array->file)]->forget(t.array->data + first * size, size_t(count * size));
        }
        return out;
    }

  private:
    int64_t chunk_rows() const { return std::max(chunk_numbers / t.columns, int64_t(1)); }

    const void* source(int64_t row) const {
        if (t.quantised) return blocks.data() + (row - first_row) * t.quantised->row_bytes();
        if (t.array) return t.array->data + row * row_bytes(t.array->format, t.columns);
        return t.made.data();
    }

    void encode(int64_t i, std::vector<float>& row, std::vector<float>& placed) {
        const int64_t wanted = t.source_row(first_row + i);
        decode_row(from, source(wanted), t.columns, row.data());
        if (t.quantised && !t.quantised->order.empty()) {
            placed.resize(row.size());
            for (size_t k = 0; k < row.size(); ++k) placed[size_t(t.quantised->order[k])] = row[k];
            row.swap(placed);
        }
        const float largest = largest_encoded(t.format);
        for (int64_t k = 0; k < t.columns; ++k)
            if (!(std::fabs(row[size_t(k)]) <= largest)) bad_number(checkpoint, t, wanted, k, row[size_t(k)]);
        char* to = out.data() + i * row_size;
        if (t.array && from == t.format)
            std::memcpy(to, source(wanted), size_t(row_size));
        else
            encode_row(t.format, row.data(), t.columns, t.importance ? t.importance->data() : nullptr, to);
    }

    const Checkpoint& checkpoint;
    const PlannedTensor& t;
    int threads;
    Format from;
    int64_t row_size, first_row = 0;
    std::string out;
    std::vector<std::byte> blocks;
};

void check_target(const std::string& target, const Checkpoint& checkpoint, const std::string& imatrix) {
    if (target.empty() || target.find('\0') != target.npos)
        fail(Status::invalid_argument, {{}, "target"}, "is no path");
    std::error_code none;
    const auto refuse = [&](const std::string& source) {
        if (std::filesystem::equivalent(source, target, none))
            fail(Status::invalid_argument, {target}, "is read for this work and cannot be its result");
    };
    for (const auto& file : checkpoint.files) refuse(file->path);
    refuse(checkpoint.metadata_path);
    refuse(imatrix);
}

const QuantizeType& checked_type(const std::string& name) {
    const QuantizeType* type = find_quantize_type(name);
    if (!type)
        fail(Status::invalid_argument, {{}, "type"}, "is \"%.40s\"; there are %s", name.c_str(),
             quantize_type_names().c_str());
    return *type;
}

std::string directory_of(const Checkpoint& checkpoint) {
    const std::string& path = checkpoint.metadata_path;
    const size_t slash = path.rfind('/');
    return slash == path.npos ? "." : path.substr(0, slash);
}

void note_source(const std::vector<PlannedTensor>& tensors, std::vector<std::string>& notes) {
    std::set<std::string> formats;
    for (const PlannedTensor& t : tensors)
        if (t.decoded()) formats.insert(info(t.source_format()).name);
    if (formats.empty()) return;
    std::string names;
    for (const std::string& name : formats) names += (names.empty() ? "" : ", ") + name;
    notes.push_back("the source is quantised already (" + names +
                    "): its numbers were decoded, and what it lost stays lost");
}

GgufWriter describe(const Checkpoint& checkpoint, const Config& config, const QuantizeType& type,
                    const QuantizeOptions& options, const ColumnWeights& weights, std::vector<std::string>& notes) {
    GgufWriter w;
    if (checkpoint.kind == Checkpoint::Kind::gguf) {
        copy_keys(w, checkpoint);
    } else {
        write_config(w, checkpoint, config, notes);
        write_tokenizer(w, directory_of(checkpoint), config, options.json, notes);
    }
    constexpr uint32_t quantization_version = 2;
    w.integer("general.quantization_version", quantization_version);
    w.integer("general.file_type", type.file_type);
    if (!weights.empty()) {
        w.text("quantize.imatrix.file", options.imatrix.substr(options.imatrix.rfind('/') + 1));
        w.integer("quantize.imatrix.entries_count", uint32_t(weights.size()));
    }
    return w;
}

}  // namespace

QuantizeReport quantize(const std::string& source, const std::string& target, const QuantizeOptions& options) {
    const QuantizeType& type = checked_type(options.type);
    const Checkpoint checkpoint = open_checkpoint(source, {.json = options.json});
    check_target(target, checkpoint, options.imatrix);
    const Config config = read_config(checkpoint);
    const ColumnWeights weights = options.imatrix.empty() ? ColumnWeights{} : read_imatrix(File::open(options.imatrix));

    QuantizeReport report{type.name};
    const auto tensors = plan_quantize(checkpoint, config, type, weights, report.notes);
    note_source(tensors, report.notes);
    GgufWriter w = describe(checkpoint, config, type, options, weights, report.notes);
    for (const PlannedTensor& t : tensors) {
        w.tensor(t.name, t.format, t.rows, t.columns);
        report.tensors.push_back({t.name, t.source_format(), t.format, t.wanted, t.rows, t.columns, t.bytes()});
        report.bytes += t.bytes();
        report.numbers += t.rows * t.columns;
    }
    report.file_bytes = w.file_bytes();

    OutputFile file(target);
    file.reserve(report.file_bytes);
    file.write(w.header());
    int64_t done = 0;
    for (const PlannedTensor& t : tensors) {
        Converter converter(checkpoint, t, options.threads);
        const int64_t window = converter.window();
        for (int64_t first = 0; first < t.rows; first += window) {
            const auto bytes = converter.convert(first, std::min(window, t.rows - first));
            file.write(bytes);
            done += int64_t(bytes.size());
            tell(options.progress, {"quantising", done, report.bytes});
        }
        file.write(std::string(size_t(GgufWriter::padding(t.bytes())), '\0'));
    }
    file.finish();
    return report;
}

}  // namespace alia
