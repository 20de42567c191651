// The importance matrix of texts.
#include "engine/imatrix.h"

#include <algorithm>

#include "capi/alia_unstable.h"
#include "capi/model.h"
#include "engine/output_file.h"

namespace alia::capi {
namespace {

// The caller's ids, cut at `lengths`.
std::vector<TokenSpan> cut(const int32_t* ids, uint64_t id_count, const uint64_t* lengths, uint64_t count) {
    check_array(ids, id_count, sizeof *ids, "ids");
    check_array(lengths, count, sizeof *lengths, "lengths");
    std::vector<TokenSpan> sequences;
    TokenSpan rest(ids, id_count);
    for (uint64_t i = 0; i < count; ++i) {
        if (lengths[i] > rest.size()) bad_argument("lengths", "add up to more than the ids");
        sequences.push_back(rest.first(lengths[i]));
        rest = rest.subspan(lengths[i]);
    }
    if (!rest.empty()) bad_argument("lengths", "add up to less than the ids");
    return sequences;
}

std::vector<std::string> lines_of(std::string_view text) {
    std::vector<std::string> lines;
    while (!text.empty()) {
        const size_t end = std::min(text.find('\n'), text.size());
        lines.emplace_back(text.substr(0, end));
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return lines;
}

ImportanceOptions importance_options(const alia_imatrix_options& given) {
    check_range(given.flags, 0, ALIA_IMATRIX_HEAD, "options.flags");
    ImportanceOptions options;
    options.head = (given.flags & ALIA_IMATRIX_HEAD) != 0;
    options.progress = progress_of(given.progress, given.user);
    return options;
}

}  // namespace
}  // namespace alia::capi

using namespace alia::capi;

alia_status alia_imatrix(alia_model* model, const int32_t* ids, uint64_t id_count, const uint64_t* lengths,
                         uint64_t length_count, const alia_imatrix_options* options, const char* path,
                         uint64_t path_length) {
    return guard([&] {
        auto m = find_model(model);
        const std::string name = given_path(path, path_length, "path");
        const alia_imatrix_options given = read_options(options, ALIA_IMATRIX_OPTIONS_INIT, "options");
        const std::vector<alia::TokenSpan> sequences = cut(ids, id_count, lengths, length_count);
        const auto datasets = lines_of(given_text(given.datasets, given.datasets_length, "options.datasets"));
        const alia::ImportanceOptions wanted = importance_options(given);
        alia::OutputFile file(name);  // before the work, which would be lost if it could not be made
        const auto found = alia::measure_importance(*m->loaded(), sequences, wanted);
        const int64_t longest = int64_t(*std::max_element(lengths, lengths + length_count));
        file.write(alia::imatrix_file(found, datasets, int64_t(length_count), longest));
        file.finish();
    });
}
