// Floats to the blocks of a number format: what decode_row undoes.
#pragma once
#include "kernels/formats.h"

namespace alia {

// F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q5_K and Q6_K.
bool can_encode(Format);
// The largest magnitude that becomes a finite number.
float largest_encoded(Format);

// A row of finite numbers up to that magnitude; `columns` is a multiple of the format's block. The sum of importance[k]
// times the squared error of number k is made small; no importance (null) means that all count alike. What comes out
// depends on the row and its importance alone.
void encode_row(Format, const float* x, int64_t columns, const float* importance, void* out);

}  // namespace alia
