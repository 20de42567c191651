// Rows in and rows out: norms, SwiGLU, angles, gathers. All are bound by memory; a thread moves 16 bytes at a time.
#include "kernels/cuda/launch.h"
#include "kernels/cuda/reduce.h"
#include "kernels/cuda/silu.h"
#include "kernels/cuda/table.h"

namespace alia::cuda {
namespace {

constexpr int norm_threads = 512, copy_threads = 256;

// Rows of floats: base and numbers from row to row.
struct FloatRows {
    float* data;
    int64_t stride;
    __device__ float* row(int64_t i) const { return data + i * stride; }
};
FloatRows float_rows(Tensor t) { return {static_cast<float*>(t.data), t.stride / int64_t(sizeof(float))}; }
struct HalfRows {
    uint16_t* data;
    int64_t stride;
    __device__ uint16_t* row(int64_t i) const { return data + i * stride; }
};
HalfRows half_rows(Tensor t) { return {static_cast<uint16_t*>(t.data), t.stride / int64_t(sizeof(uint16_t))}; }

bool aligned(const void* p, int64_t stride, int64_t bytes) {
    return reinterpret_cast<uintptr_t>(p) % uintptr_t(bytes) == 0 && stride % bytes == 0;
}

// Four numbers from column j on, of which those before `columns` exist. In one access where the rows are aligned.
template <bool whole>
__device__ float4 load4(const float* row, int64_t j, int64_t columns) {
    if (whole) return *reinterpret_cast<const float4*>(row + j);
    return {row[j], j + 1 < columns ? row[j + 1] : 0, j + 2 < columns ? row[j + 2] : 0,
            j + 3 < columns ? row[j + 3] : 0};
}
template <bool whole>
__device__ void store4(float* row, int64_t j, int64_t columns, float4 v) {
    if (whole) {
        *reinterpret_cast<float4*>(row + j) = v;
        return;
    }
    const float values[] = {v.x, v.y, v.z, v.w};
    for (int i = 0; i < 4; ++i)
        if (j + i < columns) row[j + i] = values[i];
}
template <bool whole>
__device__ void store4(uint16_t* row, int64_t j, int64_t columns, float4 v) {
    if (whole) {
        *reinterpret_cast<uint2*>(row + j) = {pack_bf16(v.x, v.y), pack_bf16(v.z, v.w)};
        return;
    }
    const float values[] = {v.x, v.y, v.z, v.w};
    for (int i = 0; i < 4; ++i)
        if (j + i < columns) row[j + i] = to_bf16(values[i]).bits;
}

// A block a row: a thread keeps its first columns, loaded all at once, and reads those of long rows again from L1.
// `whole`: rows are aligned and of whole fours.
template <bool add, bool whole>
__global__ void __launch_bounds__(norm_threads)
    norm_kernel(HalfRows y, FloatRows x, FloatRows a, const float* w, float eps, int64_t columns) {
    constexpr int held = 4, step = 4 * norm_threads;
    grid_wait();
    grid_launch_next();
    float* in = x.row(blockIdx.x);
    const float* other = a.row(blockIdx.x);
    auto load = [&](int64_t j) { return j < columns ? load4<whole>(in, j, columns) : float4{}; };
    auto sum_with = [&](float4 v, int64_t j) {
        if (!add || j >= columns) return v;
        const float4 u = load4<whole>(other, j, columns);
        return float4{v.x + u.x, v.y + u.y, v.z + u.z, v.w + u.w};
    };
    auto finish = [&](float4 v, int64_t j, float scale) {
        if (j >= columns) return;
        const float4 g = load4<whole>(w, j, columns);
        store4<whole>(y.row(blockIdx.x), j, columns,
                      float4{v.x * scale * g.x, v.y * scale * g.y, v.z * scale * g.z, v.w * scale * g.w});
    };
    auto square = [](float4 v) { return v.x * v.x + v.y * v.y + (v.z * v.z + v.w * v.w); };

    const int64_t first = 4 * threadIdx.x;
    float4 v[held];
#pragma unroll
    for (int i = 0; i < held; ++i) v[i] = load(first + i * step);
#pragma unroll
    for (int i = 0; i < held; ++i) v[i] = sum_with(v[i], first + i * step);
    float squares = 0;
#pragma unroll
    for (int i = 0; i < held; ++i) {
        squares += square(v[i]);
        if (add && first + i * step < columns) store4<whole>(in, first + i * step, columns, v[i]);
    }
    for (int64_t j = first + held * step; j < columns; j += step) {
        const float4 u = sum_with(load(j), j);
        if (add) store4<whole>(in, j, columns, u);
        squares += square(u);
    }
    const float scale = 1 / sqrtf(block_sum(squares, &shared<float>()) / float(columns) + eps);
#pragma unroll
    for (int i = 0; i < held; ++i) finish(v[i], first + i * step, scale);
    for (int64_t j = first + held * step; j < columns; j += step) finish(load(j), j, scale);
}

template <bool add>
void norm_any(Queue& q, Tensor y, Tensor x, Tensor a, const float* w, float eps) {
    const bool whole = x.columns % 4 == 0 && aligned(x.data, x.stride, 16) && aligned(y.data, y.stride, 8) &&
                       aligned(w, 0, 16) && (!add || aligned(a.data, a.stride, 16));
    launch(q, whole ? norm_kernel<add, true> : norm_kernel<add, false>,
           {dim3(unsigned(x.rows)), norm_threads, norm_threads / warp_size * int(sizeof(float))}, half_rows(y),
           float_rows(x), float_rows(a), w, eps, x.columns);
}

template <bool whole>
__global__ void __launch_bounds__(copy_threads) glu_kernel(HalfRows y, FloatRows x, int64_t columns) {
    grid_wait();
    grid_launch_next();
    const int64_t j = 4 * (int64_t(blockIdx.y) * copy_threads + threadIdx.x);
    if (j >= columns) return;
    const float* row = x.row(blockIdx.x);
    const float4 g = load4<whole>(row, j, columns), u = load4<whole>(row + columns, j, columns);
    store4<whole>(y.row(blockIdx.x), j, columns,
                  float4{silu(g.x) * u.x, silu(g.y) * u.y, silu(g.z) * u.z, silu(g.w) * u.w});
}

__global__ void __launch_bounds__(copy_threads) angles_kernel(FloatRows y, const int32_t* position, Rope rope) {
    grid_wait();
    grid_launch_next();
    const int i = int(blockIdx.y) * copy_threads + int(threadIdx.x);
    if (i >= rope.pairs) return;
    const double p = position[blockIdx.x];
    double f = rope.frequency[i];
    if (rope.factor > 0 && p >= rope.original)
        f /= pow(rope.factor * (p + 1) / rope.original - rope.factor + 1, 2.0 * i / (2 * rope.pairs - 2));
    float* row = y.row(blockIdx.x);
    row[i] = float(cos(p * f) * double(rope.scale));
    row[i + rope.pairs] = float(sin(p * f) * double(rope.scale));
}

// Rows of T, `words` of them a row; strides in T.
template <class T>
__global__ void __launch_bounds__(copy_threads)
    rows_kernel(T* y, int64_t y_stride, const T* x, int64_t x_stride, const int32_t* index, int64_t words) {
    grid_wait();
    grid_launch_next();
    const int64_t j = int64_t(blockIdx.y) * copy_threads + threadIdx.x;
    if (j < words) y[blockIdx.x * y_stride + j] = x[index[blockIdx.x] * x_stride + j];
}

template <class T>
__global__ void __launch_bounds__(copy_threads)
    columns_kernel(T* y, int64_t y_stride, const T* x, int64_t x_stride, const int32_t* index, int64_t columns) {
    grid_wait();
    grid_launch_next();
    const int64_t j = int64_t(blockIdx.y) * copy_threads + threadIdx.x;
    if (j < columns) y[blockIdx.x * y_stride + j] = x[blockIdx.x * x_stride + index[j]];
}

Grid row_grid(int64_t rows, int64_t items) {
    return {dim3(unsigned(rows), unsigned((items + copy_threads - 1) / copy_threads)), copy_threads};
}

template <class T>
void rows_as(Queue& q, Tensor y, Tensor x, const int32_t* index) {
    const int64_t words = row_bytes(x.format, x.columns) / int64_t(sizeof(T));
    launch(q, rows_kernel<T>, row_grid(y.rows, words), static_cast<T*>(y.data), y.stride / int64_t(sizeof(T)),
           static_cast<const T*>(x.data), x.stride / int64_t(sizeof(T)), index, words);
}

template <class T>
void columns_as(Queue& q, Tensor y, Tensor x, const int32_t* index) {
    launch(q, columns_kernel<T>, row_grid(y.rows, y.columns), static_cast<T*>(y.data), y.stride / int64_t(sizeof(T)),
           static_cast<const T*>(x.data), x.stride / int64_t(sizeof(T)), index, y.columns);
}

}  // namespace

void norm(Stream* s, Tensor y, Tensor x, const float* w, float eps) { norm_any<false>(queue(s), y, x, {}, w, eps); }

void add_norm(Stream* s, Tensor y, Tensor x, Tensor a, const float* w, float eps) {
    norm_any<true>(queue(s), y, x, a, w, eps);
}

void glu(Stream* s, Tensor y, Tensor x) {
    const bool whole = y.columns % 4 == 0 && aligned(x.data, x.stride, 16) && aligned(y.data, y.stride, 8);
    launch(queue(s), whole ? glu_kernel<true> : glu_kernel<false>, row_grid(y.rows, (y.columns + 3) / 4), half_rows(y),
           float_rows(x), y.columns);
}

void angles(Stream* s, Tensor y, const int32_t* position, Rope rope) {
    launch(queue(s), angles_kernel, row_grid(y.rows, rope.pairs), float_rows(y), position, rope);
}

void rows(Stream* s, Tensor y, Tensor x, const int32_t* index) {
    const int64_t bytes = row_bytes(x.format, x.columns);
    if (bytes % 16 == 0 && aligned(x.data, x.stride, 16) && aligned(y.data, y.stride, 16))
        rows_as<uint4>(queue(s), y, x, index);
    else
        rows_as<uint16_t>(queue(s), y, x, index);
}

void columns(Stream* s, Tensor y, Tensor x, const int32_t* index) {
    if (x.format == Format::F32)
        columns_as<uint32_t>(queue(s), y, x, index);
    else
        columns_as<uint16_t>(queue(s), y, x, index);
}

}  // namespace alia::cuda
