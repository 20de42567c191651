// Writing models in other number formats.
#include "engine/quantize.h"

#include <map>

#include "capi/json_writer.h"
#include "capi/model.h"

namespace alia::capi {
namespace {

// Tensors that share what was asked for and what was made of it.
struct Kind {
    int64_t tensors = 0, bytes = 0;
};

void write_formats(JsonWriter& json, const QuantizeReport& report) {
    std::map<Format, Kind> formats;
    for (const QuantizedTensor& t : report.tensors) ++formats[t.format].tensors, formats[t.format].bytes += t.bytes;
    json.key("formats").open('[');
    for (const auto& [format, kind] : formats) {
        json.open('{');
        json.key("format").text(info(format).name);
        json.key("tensors").integer(kind.tensors);
        json.key("bytes").integer(kind.bytes);
        json.close('}');
    }
    json.close(']');
}

void write_fallbacks(JsonWriter& json, const QuantizeReport& report) {
    std::map<std::tuple<Format, Format, int64_t>, int64_t> fallbacks;
    for (const QuantizedTensor& t : report.tensors)
        if (t.format != t.wanted) ++fallbacks[{t.wanted, t.format, t.columns}];
    json.key("fallbacks").open('[');
    for (const auto& [kind, tensors] : fallbacks) {
        json.open('{');
        json.key("wanted").text(info(std::get<0>(kind)).name);
        json.key("format").text(info(std::get<1>(kind)).name);
        json.key("columns").integer(std::get<2>(kind));
        json.key("tensors").integer(tensors);
        json.close('}');
    }
    json.close(']');
}

void write_tensors(JsonWriter& json, const QuantizeReport& report) {
    json.key("tensors").open('[');
    for (const QuantizedTensor& t : report.tensors) {
        json.open('{');
        json.key("name").text(t.name);
        json.key("from").text(info(t.from).name);
        json.key("wanted").text(info(t.wanted).name);
        json.key("format").text(info(t.format).name);
        json.key("rows").integer(t.rows);
        json.key("columns").integer(t.columns);
        json.key("bytes").integer(t.bytes);
        json.close('}');
    }
    json.close(']');
}

std::string describe(const QuantizeReport& report) {
    JsonWriter json;
    json.open('{');
    json.key("type").text(report.type);
    json.key("bytes").integer(report.bytes);
    json.key("file_bytes").integer(report.file_bytes);
    json.key("numbers").integer(report.numbers);
    json.key("bits_per_number").real(8 * double(report.bytes) / double(report.numbers));
    write_formats(json, report);
    write_fallbacks(json, report);
    json.key("notes").open('[');
    for (const std::string& note : report.notes) json.text(note);
    json.close(']');
    write_tensors(json, report);
    json.close('}');
    return json.out;
}

QuantizeOptions quantize_options(const alia_quantize_options& given) {
    check_range(given.threads, 0, 1024, "options.threads");
    QuantizeOptions options;
    options.threads = given.threads;
    options.imatrix = given_text(given.imatrix, given.imatrix_length, "options.imatrix");
    options.progress = progress_of(given.progress, given.user);
    return options;
}

}  // namespace
}  // namespace alia::capi

using namespace alia::capi;

alia_status alia_quantize(const char* source, uint64_t source_length, const char* target, uint64_t target_length,
                          const char* type, uint64_t type_length, const alia_quantize_options* given, char** json,
                          uint64_t* length) {
    return guard([&] {
        const std::string from = given_path(source, source_length, "source");
        const std::string to = given_path(target, target_length, "target");
        alia::QuantizeOptions options = quantize_options(read_options(given, ALIA_QUANTIZE_OPTIONS_INIT, "options"));
        options.type = given_text(type, type_length, "type");
        not_null(json, "json");
        not_null(length, "length");
        give_text(describe(alia::quantize(from, to, options)), json, length);
    });
}
