// How the rows of x are laid out for the products, and which work one thread takes at once.
//
// Rows are taken in panels of a few whose sums stay in registers: as many of `panel` as there are, then of 4, then
// single ones. Number k of a panel's row t lies behind the same number of its other rows, so that one pointer reaches
// all.
#pragma once
#include <type_traits>

#include "kernels/cpu/simd.h"
#include "kernels/cpu/threads.h"
#include "kernels/tensor.h"

namespace alia {
namespace {

constexpr int panel = width == 16 ? 12 : 4;
constexpr int token_group = 20 * panel;  // rows of x whose sums are kept while a tile's runs are gone through
constexpr int tiles_at_once = 2;         // that share each panel while it is in the nearest cache

inline int64_t tiles(int64_t rows) { return (rows + lanes - 1) / lanes; }

// Sixteen columns of a row of y, or as many as it has.
inline void store_row(Tensor y, int64_t row, int64_t column, Floats value) {
    if (y.columns - column >= lanes)
        store(y.row(row) + column, value);
    else
        store(y.row(row) + column, value, y.columns - column);
}

// Calls f(first, size constant) for every panel of n rows.
template <class F>
inline void for_panels(int64_t n, F&& f) {
    int64_t i = 0;
    for (; i + panel <= n; i += panel) f(i, std::integral_constant<int, panel>{});
    for (; i + 4 <= n; i += 4) f(i, std::integral_constant<int, 4>{});
    for (; i < n; ++i) f(i, std::integral_constant<int, 1>{});
}
// The panels of n rows in parallel: f(first row, size).
template <class F>
inline void parallel_panels(Stream* s, int64_t n, F&& f) {
    const int64_t whole = n / panel, fours = n % panel / 4;
    parallel(s, whole + fours + n % panel % 4, [&](int64_t i) {
        if (i < whole)
            f(i * panel, panel);
        else if (i < whole + fours)
            f(whole * panel + (i - whole) * 4, 4);
        else
            f(whole * panel + fours * 4 + (i - whole - fours), 1);
    });
}

}  // namespace
}  // namespace alia
