// The types that `alia quantize` makes, and the format that each of them gives each tensor.
#pragma once
#include <string>
#include <string_view>

#include "kernels/formats.h"

namespace alia {

struct QuantizeType {
    const char* name;
    uint32_t file_type;  // general.file_type of GGUF
    Format format;       // of most matrices
    bool mixed;          // some of them get Q6_K
};

// By its name, in any case; null where there is none.
const QuantizeType* find_quantize_type(std::string_view name);
// "F32, F16, ...", for people.
std::string quantize_type_names();

enum class MatrixKind { embedding, head, v, down, other };

struct MatrixPlace {
    MatrixKind kind = MatrixKind::other;
    int64_t layer = 0, layers = 0;
    bool tied = false;      // the embedding is the head too
    bool weighted = false;  // an importance matrix is used
};

// As llama.cpp mixes them (llama_tensor_get_type in its llama-quant.cpp), so that equal names mean equal things.
Format wanted_format(const QuantizeType&, const MatrixPlace&);
// The format that stands in for one whose blocks do not divide a row of so many columns.
Format fitting_format(Format wanted, int64_t columns);

}  // namespace alia
