// Encoders of one block, for encode_row's list. x, weight: the block's numbers and how much each counts.
#pragma once
#include "kernels/formats.h"

namespace alia {

inline void put_half(uint8_t* out, f16 h) { std::memcpy(out, &h.bits, 2); }

void encode_q4_k(const float* x, const float* weight, uint8_t* out);
void encode_q5_k(const float* x, const float* weight, uint8_t* out);
void encode_q6_k(const float* x, const float* weight, uint8_t* out);

// Importances of a block as weights with a mean of about 1, none of them 0; all 1 where they say nothing.
void block_weights(const float* importance, int n, float* weight);

}  // namespace alia
