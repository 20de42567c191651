// How K and V lie in a page of the cache: what cache.cu writes and attention.cu reads.
//
// A page holds page_positions rows of each KV head, a head's rows together, so that a key tile is one piece of memory:
//     BF16  [head_dim / 8][64 positions][8 columns]: the 16 bytes that ldmatrix wants of eight neighbouring positions
//           are 128 neighbouring bytes, free of bank conflicts at any head dimension (and what wgmma calls core
//           matrices without swizzle);
//     E4M3  [head_dim / 16][64 positions][16 columns] of one byte, then [head_dim / 32][64 positions] f32 scales.
#pragma once
#include "kernels/ops.h"

namespace alia::cuda {

constexpr int piece_bytes = 16;

// Bytes of a KV head in a page.
ALIA_HD static inline int64_t head_bytes(bool e4m3, int head_dim) {
    return int64_t(page_positions) * (e4m3 ? head_dim / 32 * 36 : 2 * head_dim);
}
// Where the piece `piece` of a position begins; scales of E4M3 begin at piece head_dim / 16, position 0.
ALIA_HD static inline int64_t piece_offset(int piece, int position) {
    return (int64_t(piece) * page_positions + position) * piece_bytes;
}

}  // namespace alia::cuda
