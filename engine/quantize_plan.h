// What a quantised file will hold: each tensor's source, shape and format.
#pragma once
#include <optional>

#include "engine/imatrix_reader.h"
#include "engine/quantised.h"
#include "engine/quantize_types.h"

namespace alia {

struct PlannedTensor {
    std::string name;                                   // in GGUF
    Format format = Format::F32, wanted = Format::F32;  // they differ where the wanted one does not fit the columns
    int64_t rows = 0, columns = 0;
    int64_t turned = 0;  // rows of a head that become neighbours in pairs (head_dim), or 0: rows stay where they are
    const std::vector<float>* importance = nullptr;

    // Where the numbers come from: one of the three.
    const Array* array = nullptr;
    std::optional<Quantised> quantised;
    std::vector<float> made;

    int64_t bytes() const { return row_bytes(format, columns) * rows; }
    Format source_format() const;
    bool decoded() const;  // the source is quantised, and not kept as it is
    // The source's row that row i of the result is.
    int64_t source_row(int64_t i) const;
};

// Every tensor of the model, embedding first, then layer by layer; each one's presence and shape is checked. What the
// checkpoint holds beyond them is named in a note. Errors: missing, shape, and those of find_quantised.
std::vector<PlannedTensor> plan_quantize(const Checkpoint&, const Config&, const QuantizeType&, const ColumnWeights&,
                                         std::vector<std::string>& notes);

}  // namespace alia
