// The linear operation and its packed weights, for every format.
#pragma once
#include "kernels/cpu/bytes.h"
#include "kernels/cpu/floats.h"
#include "kernels/ops.h"

namespace alia {
namespace {

template <class F>
constexpr auto product_of() {
    if constexpr (FormOf<F>::bits > 0)
        return ByteProducts<F>{};
    else if constexpr (has_brain_products && std::is_same_v<F, BF16>)
        return FloatProducts<Pairs>{};
    else
        return FloatProducts<Singles<F>>{};
}

struct Matmul {
    int64_t (*tile_bytes)(int64_t columns);
    int64_t (*scratch_bytes)(int64_t rows, int64_t columns);
    void (*pack_tile)(uint8_t* tile, const void* const* rows, int filled, int64_t columns);
    void (*unpack_row)(const uint8_t* tile, int row, int64_t columns, float* out);
    void (*linear)(Stream*, Tensor y, Tensor x, Tensor w, void* scratch);
};
template <class Product>
constexpr Matmul matmul_with(Product) {
    return {Product::tile_bytes, Product::scratch_bytes, Product::pack_tile, Product::unpack_row, Product::linear};
}
template <class... F>
const Matmul& matmul_of(List<F...>, Format f) {
    static constexpr Matmul table[] = {matmul_with(product_of<F>())...};
    return table[int(f)];
}
const Matmul& matmul(Format f) { return matmul_of(Formats{}, f); }

int64_t packed_bytes(Format f, int64_t rows, int64_t columns) { return tiles(rows) * matmul(f).tile_bytes(columns); }

int64_t scratch_bytes(Format f, int64_t rows, int64_t columns) { return matmul(f).scratch_bytes(rows, columns); }

// The system gives memory where the thread runs that first writes to it: the one that will read that part of the tiles.
void touch_shares(Stream* s, uint8_t* packed, int64_t count, int64_t bytes) {
    constexpr int64_t memory_page = 4096;
    const int64_t n = cpu::threads(s);
    parallel(s, n, [&](int64_t i) {
        for (int64_t b = count * i / n * bytes; b < count * (i + 1) / n * bytes; b += memory_page) packed[b] = 0;
    });
}

void pack(Stream* s, Tensor w, int64_t first, int64_t count, const void* const* rows) {
    const Matmul& m = matmul(w.format);
    const int64_t bytes = m.tile_bytes(w.columns);
    if (first == 0) touch_shares(s, static_cast<uint8_t*>(w.data), tiles(w.rows), bytes);
    auto* packed = static_cast<uint8_t*>(w.data) + first / lanes * bytes;
    parallel(s, tiles(count), [&](int64_t t) {
        const int filled = int(count - t * lanes < lanes ? count - t * lanes : lanes);
        m.pack_tile(packed + t * bytes, rows + t * lanes, filled, w.columns);
    });
}

void linear(Stream* s, Role, Tensor y, Tensor x, Tensor w, void* scratch) {
    matmul(w.format).linear(s, y, x, w, scratch);
}

void embed(Stream* s, Tensor y, Tensor w, const int32_t* token) {
    const Matmul& m = matmul(w.format);
    parallel(s, y.rows, [&](int64_t i) {
        const auto* tile = static_cast<const uint8_t*>(w.data) + token[i] / lanes * m.tile_bytes(w.columns);
        m.unpack_row(tile, token[i] % lanes, w.columns, y.row(i));
    });
}

}  // namespace
}  // namespace alia
