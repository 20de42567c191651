// Weights from the formats' own layouts to the device's (packed.h), derived from `decode` alone; and rows of packed
// tables back to floats.
#include "kernels/cuda/by_format.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/packed.h"
#include "kernels/cuda/table.h"
#include "kernels/draw.h"

namespace alia::cuda {
namespace {

constexpr int embed_threads = 128;

// A reader of blocks for `decode` that keeps apart what a format multiplies and adds: a weight comes out as d q, d q +
// m, d s q or d s q - m t, or as the bits of a float.
struct Apart {
    const uint8_t* p;

    struct Real {
        int32_t v;
    };
    struct Wide {
        uint32_t bits;
    };

    __device__ int32_t u8(int i) const { return p[i]; }
    __device__ int32_t i8(int i) const { return int8_t(p[i]); }
    __device__ Wide half(int i) const { return {uint32_t(p[i] | p[i + 1] << 8)}; }
    __device__ Wide brain(int i) const { return half(i); }
    __device__ Wide single(int i) const { return {half(i).bits | half(i + 2).bits << 16}; }
    __device__ Real fp8(int i) const { return {p[i]}; }
    __device__ static Real real(int32_t q) { return {q}; }
    __device__ static Real pick(const int8_t (&)[16], int32_t q) { return {q}; }
};
struct Once {  // d q, or the d s of a group
    uint32_t d;
    int32_t q;
};
struct Apiece {  // a weight
    uint32_t d, m;
    int32_t s, t, q;
};
__device__ Once operator*(Apart::Wide d, Apart::Real q) { return {d.bits, q.v}; }
__device__ Apiece operator*(Once s, Apart::Real q) { return {s.d, 0, s.q, 0, q.v}; }
__device__ Apiece operator+(Once x, Apart::Wide m) { return {x.d, m.bits, 0, 0, x.q}; }
__device__ Apiece operator-(Apiece x, Once least) { return {x.d, least.d, x.s, least.q, x.q}; }
__device__ Apiece apiece(Apiece x) { return x; }
__device__ Apiece apiece(Once x) { return {x.d, 0, 0, 0, x.q}; }
__device__ Apiece apiece(Apart::Wide x) { return {0, 0, 0, 0, int32_t(x.bits)}; }

// A span of a tile, taken apart.
template <class F>
struct Span {
    using P = Packed<F>;
    static constexpr int groups = P::groups * P::chunks, blocks = P::wides > 0 ? P::wides : 1;
    uint32_t q[tile_rows][P::span];  // as the planes hold it
    uint32_t d[blocks][tile_rows], m[blocks][tile_rows];
    uint8_t s[groups][tile_rows], t[groups][tile_rows];
};

// Row r of the tile, from its blocks of numbers [0, columns); null where there is no row.
template <class F>
__device__ void take_apart(Span<F>& span, int r, const uint8_t* row, int64_t columns) {
    using P = Packed<F>;
    for (int k = 0; k < P::span; k += F::n) {
        const int block = P::scaled ? k / F::n : 0;
        if (!row || k >= columns) {
            for (int i = k; i < k + F::n; ++i) {
                span.q[r][i] = 0;
                if (i % P::group == 0) span.s[i / P::group][r] = span.t[i / P::group][r] = 0;
            }
            span.d[block][r] = span.m[block][r] = 0;
            continue;
        }
        bool finite = true;
        F::decode(Apart{row + k / F::n * F::bytes}, [&](int i, auto x) {
            const Apiece a = apiece(x);
            const uint32_t q = uint32_t(a.q + P::offset);
            span.q[r][k + i] = P::bits < 16 ? q & ((1u << P::bits % 32) - 1) : q;
            span.d[block][r] = a.d, span.m[block][r] = a.m;
            if ((k + i) % P::group == 0)
                span.s[(k + i) / P::group][r] = uint8_t(a.s), span.t[(k + i) / P::group][r] = uint8_t(a.t);
            if (P::number == Number::e4m3 && (a.q & 127) == 127) finite = false;
        });
        if (!finite) span.d[block][r] = 0x7FC00000;  // products take E4M3's NaN for a number: its block's scale is one
    }
}

// Words of a plane: `bits` of every q, from bit `from` on.
template <class F, int bits>
__device__ void put_plane(uint8_t* plane, const Span<F>& span, int c, int from, int lane) {
    using P = Packed<F>;
    for (int i = 0; i < bits; ++i) {
        uint32_t word = 0;
        for (int n = 0; n < 32 / bits; ++n) {  // even: the lower number of a pair
            const int p = (i * 16 + n / 2 * bits) / bits, row = lane / 4 + p % 4 / 2 * 8;
            const int k = c * chunk + p / 4 * 16 + lane % 4 * 4 + p % 2 * 2 + n % 2;
            word |= (span.q[row][k] >> from & ((1u << bits) - 1)) << (n / 2 * bits + n % 2 * 16);
        }
        *reinterpret_cast<uint32_t*>(plane + P::word(bits, lane, i)) = word;
    }
}

// A warp packs a span of a tile. `raw` holds rows [first, first + count), of which the tile's are there.
template <class F>
__global__ void __launch_bounds__(warp_size)
    repack_kernel(uint8_t* w, int64_t tile_bytes, int64_t columns, int64_t first, int64_t count, const uint8_t* raw,
                  int64_t row_bytes) {
    using P = Packed<F>;
    grid_wait();
    const int lane = int(threadIdx.x);
    Span<F>& span = shared<Span<F>>();
    const int64_t k = int64_t(blockIdx.y) * P::span;
    if (lane < tile_rows) {
        const int64_t row = int64_t(blockIdx.x) * tile_rows + lane;
        take_apart<F>(span, lane, row < count ? raw + row * row_bytes + k / F::n * F::bytes : nullptr, columns - k);
    }
    __syncwarp();  // rows taken apart above, read by all lanes below
    uint8_t* to = w + (first / tile_rows + blockIdx.x) * tile_bytes + int64_t(blockIdx.y) * P::bytes;
    if (lane < tile_rows) {
        const int at = lane % 8 * 2 + lane / 8;
        for (int b = 0; b < P::wides; ++b) {
            auto put = [&](int vector, uint32_t bits) {
                uint8_t* p = to + (vector * tile_rows + at) * P::wide;
                if constexpr (P::wide == 4) *reinterpret_cast<uint32_t*>(p) = bits;
                if constexpr (P::wide == 2) *reinterpret_cast<uint16_t*>(p) = uint16_t(bits);
            };
            put(b, span.d[b][lane]);
            if constexpr (P::least) put(P::wides + b, span.m[b][lane]);
        }
        if constexpr (P::small != Small::none)
            for (int g = 0; g < P::groups * P::chunks; ++g) {
                uint8_t* p = to + P::head + g / P::groups * P::chunk_bytes + g % P::groups * tile_rows + at;
                const int s = span.s[g][lane], t = span.t[g][lane];
                *p = uint8_t(P::small == Small::nibbles ? s | t << 4 : s);
                if constexpr (P::small == Small::bytes) p[P::groups * tile_rows] = uint8_t(t);
            }
    }
    for (int c = 0; c < P::chunks; ++c) {
        uint8_t* planes = to + P::head + c * P::chunk_bytes + P::small_bytes;
        put_plane<F, P::low>(planes, span, c, 0, lane);
        if constexpr (P::high > 0) put_plane<F, P::high>(planes + warp_size * 4 * P::low, span, c, P::low, lane);
    }
}

__global__ void __launch_bounds__(embed_threads)
    draw_kernel(uint8_t* to, DrawnBlock block, uint64_t seed, int64_t blocks, int64_t period) {
    grid_wait();
    const int64_t i = int64_t(blockIdx.x) * embed_threads + threadIdx.x;
    if (i < blocks) draw_block(block, seed, uint64_t(i % period), to + i * block.bytes);
}

__global__ void settle_kernel() { grid_wait(); }

template <class F>
void repack_rows(Queue& q, Tensor w, int64_t first, int64_t count, const void* raw) {
    using P = Packed<F>;
    const int64_t spans = divide_up(w.columns, P::span);
    launch(q, repack_kernel<F>,
           {dim3(unsigned(divide_up(count, tile_rows)), unsigned(spans)), warp_size, int(sizeof(Span<F>))},
           static_cast<uint8_t*>(w.data), spans * P::bytes, w.columns, first, count, static_cast<const uint8_t*>(raw),
           row_bytes(w.format, w.columns));
    q.unsettled = true;
}

// One number of a packed tile, as `decode` makes it.
template <class F>
__device__ float number(const uint8_t* tile, int r, int64_t column) {
    using P = Packed<F>;
    const uint8_t* head = tile + column / P::span * P::bytes;
    const int k = int(column % P::span), c = k / chunk, in_chunk = k % chunk, g = r % 8, e = k % 4;
    const uint8_t *small = head + P::head + c * P::chunk_bytes, *planes = small + P::small_bytes;
    const int lane = 4 * g + k % 16 / 4, p = in_chunk / 16 * 4 + r / 8 * 2 + e / 2;
    auto bits = [&](const uint8_t* plane, int wide) {
        const uint32_t word = *reinterpret_cast<const uint32_t*>(plane + P::word(wide, lane, p * wide / 16));
        return word >> (p * wide % 16 + e % 2 * 16) & ((1u << wide) - 1);
    };
    uint32_t q = bits(planes, P::low);
    if constexpr (P::high > 0) q |= bits(planes + warp_size * 4 * P::low, P::high) << P::low;
    if constexpr (P::number == Number::brain) return to_float(bf16{uint16_t(q)});
    if constexpr (P::number == Number::half) return to_float(f16{uint16_t(q)});
    if constexpr (P::number == Number::single) return as_float(q);
    if constexpr (P::scaled) {
        float2 scale, least;
        scales<F>(scale, least, head, small, c, in_chunk / P::group, g);
        float x;
        if constexpr (P::number == Number::e4m3)
            x = e4m3_to_float(uint8_t(q));
        else if constexpr (P::number == Number::level)
            x = iq4_levels[q];
        else
            x = float(P::number == Number::byte ? int(int8_t(q)) - P::offset : int(q) - P::offset);
        const float product = (r < 8 ? scale.x : scale.y) * x;
        if constexpr (P::least) return product + (r < 8 ? least.x : least.y);
        return product;
    }
    return 0;
}

template <class F>
__global__ void __launch_bounds__(embed_threads)
    embed_kernel(float* y, int64_t stride, const uint8_t* w, int64_t tile_bytes, int64_t columns,
                 const int32_t* token) {
    grid_wait();
    grid_launch_next();
    const int64_t column = int64_t(blockIdx.y) * embed_threads + threadIdx.x;
    if (column >= columns) return;
    const int32_t row = token[blockIdx.x];
    y[blockIdx.x * stride + column] = number<F>(w + row / tile_rows * tile_bytes, row % tile_rows, column);
}

template <class F>
void embed_rows(Queue& q, Tensor y, Tensor w, const int32_t* token) {
    using P = Packed<F>;
    launch(q, embed_kernel<F>, {dim3(unsigned(y.rows), unsigned(divide_up(w.columns, embed_threads))), embed_threads},
           static_cast<float*>(y.data), y.stride / int64_t(sizeof(float)), static_cast<const uint8_t*>(w.data),
           divide_up(w.columns, P::span) * P::bytes, w.columns, token);
}

}  // namespace

int64_t packed_bytes(Format f, int64_t rows, int64_t columns) {
    return by_format(f, [&]<class F>(List<F>) {
        return divide_up(rows, tile_rows) * divide_up(columns, Packed<F>::span) * Packed<F>::bytes;
    });
}

void repack(Queue& q, Tensor w, int64_t first, int64_t count, const void* raw) {
    by_format(w.format, [&]<class F>(List<F>) { repack_rows<F>(q, w, first, count, raw); });
}

void draw_rows(Queue& q, Tensor w, uint64_t seed, int64_t count, void* raw) {
    const int64_t row = w.columns / info(w.format).n;
    launch(q, draw_kernel, {dim3(unsigned(divide_up(count * row, embed_threads))), embed_threads},
           static_cast<uint8_t*>(raw), drawn_block(w.format), seed, count * row, pack_rows * row);
}

void settle(Queue& q) {
    if (q.unsettled) launch(q, settle_kernel, {dim3(1), warp_size});
}

void embed_packed(Queue& q, Tensor y, Tensor w, const int32_t* token) {
    by_format(w.format, [&]<class F>(List<F>) { embed_rows<F>(q, y, w, token); });
}

}  // namespace alia::cuda
