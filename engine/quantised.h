// Weights of quantised safetensors: a few arrays that together are one matrix, turned into blocks row by row.
//
// A number is d (u - z): u its code, d and z those of its group, which is so many columns of a row, a row or the
// tensor. Codes and zero points of 4 or 8 bits lie in 32-bit words, the first in the lowest bits. G groups, R rows, C
// columns:
//
//     GPTQ                 qweight I32 [C bits / 32][R], scales [G][R], qzeros I32 [G][R bits / 32], g_idx I32 [C]
//     pack-quantized       weight_packed I32 [R][C bits / 32], weight_shape [2], weight_scale [R][G],
//                          weight_zero_point I32 [R bits / 32][G] or I8 [R][G], weight_g_idx I32 [C]
//     int-, naive-quantized  weight I8 [R][C], weight_scale, weight_zero_point I8 [R][G]
//     float-quantized      weight F8_E4M3 [R][C], weight_scale
//
// GPTQ's first version stores z - 1. g_idx names each column's group where groups are not runs of columns.
// https://github.com/AutoGPTQ/AutoGPTQ/blob/main/auto_gptq/nn_modules/qlinear/qlinear_cuda.py
// https://github.com/vllm-project/compressed-tensors/tree/main/src/compressed_tensors/compressors
//
// They become blocks without a change of value:
//
//     codes    scales       symmetric   otherwise
//     4 bits   F16, BF16    Q4_0        Q5_0
//     4 bits   F32          I8          I8
//     8 bits   any          I8          U8
//     E4M3     any          E4M3
//
// but for a BF16 scale of 4-bit codes below 2^-17, which becomes the nearest multiple of 2^-24, and for U8 with F32
// scales, which rounds twice.
#pragma once
#include "engine/config.h"

namespace alia {

// Entry (row, group) is number row * down + group * across.
struct Grid {
    const Array* array = nullptr;
    int64_t down = 0, across = 0;
};

struct Quantised {
    Format format = Format::Q4_0;  // of the blocks
    int64_t rows = 0, columns = 0;
    std::vector<int32_t> order;  // place i of a row of blocks is column order[i]; empty: of column i

    const Checkpoint* checkpoint = nullptr;  // which must outlive this
    const Array* codes = nullptr;
    int bits = 0;             // of a code
    int64_t group = 0;        // columns that share a scale
    Grid scales, zeros;       // zeros: without an array they are all `centre`
    int centre = 0;           // the zero point of symmetric codes
    int zero_offset = 0;      // to be added to stored zero points
    bool symmetric = true;    // stored zero points must be the centre
    bool transposed = false;  // GPTQ's qweight
    bool e4m3_inputs = false;

    int64_t row_bytes() const { return alia::row_bytes(format, columns); }
};

// The matrix of `module` ("model.layers.0.mlp.down_proj."), or nothing where the checkpoint has no codes of it. Every
// array's type and shape, and the order of columns, are checked: missing, shape, malformed, unsupported.
std::optional<Quantised> find_quantised(const Checkpoint&, const QuantisedConfig&, std::string_view module,
                                        int64_t rows, int64_t columns);

// Rows [first, first + count) as blocks, by several threads (as thread_count takes it). Fails with malformed where a
// scale or zero point cannot be.
void convert_rows(const Quantised&, int64_t first, int64_t count, std::byte* blocks, int threads);

}  // namespace alia
