// Sums of squares over counts.
#include "engine/imatrix_reader.h"

#include <algorithm>
#include <cmath>

#include "engine/checkpoint.h"

namespace alia {
namespace {

constexpr std::string_view sums_end = ".in_sum2", counts_end = ".counts";

std::vector<float> read_row(const Checkpoint& file, const Array& a) {
    if (a.format != Format::F32) fail(Status::unsupported, file.place(a), "is %s, not F32", info(a.format).name);
    if (a.rows != 1) fail(Status::unsupported, file.place(a), "%lld rows: experts", (long long)a.rows);
    std::vector<float> row(size_t(a.columns));
    decode_row(a.format, a.data, a.columns, row.data());
    for (size_t i = 0; i < row.size(); ++i)
        if (!std::isfinite(row[i]) || row[i] < 0) fail(Status::malformed, file.place(a), "column %zu is %g", i, row[i]);
    return row;
}

}  // namespace

ColumnWeights read_imatrix(std::shared_ptr<const File> opened) {
    const Checkpoint file = read_gguf({std::move(opened)});
    ColumnWeights weights;
    for (const Array& sums : file.arrays) {
        if (!sums.name.ends_with(sums_end)) continue;
        const std::string name = sums.name.substr(0, sums.name.size() - sums_end.size());
        const Array* counts = file.find(name + std::string(counts_end));
        if (!counts) fail(Status::missing, file.place(sums), "there are no counts beside it");
        if (counts->columns != 1) fail(Status::shape, file.place(*counts), "%lld counts", (long long)counts->columns);
        const float count = read_row(file, *counts)[0];
        std::vector<float> row = read_row(file, sums);
        for (float& w : row) w = count > 0 ? w / count : 0;
        if (!std::all_of(row.begin(), row.end(), [](float w) { return std::isfinite(w); }))
            fail(Status::malformed, file.place(*counts), "a count of %g makes a mean infinite", double(count));
        weights[name] = std::move(row);
    }
    if (weights.empty()) fail(Status::malformed, {file.path}, "holds no importance matrix");
    return weights;
}

}  // namespace alia
