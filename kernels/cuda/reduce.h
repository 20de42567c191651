// Sums and maxima over a warp or a block, in an order that the number of threads alone decides.
#pragma once
#include <alia/ptx.h>

namespace alia::cuda {

constexpr unsigned whole_warp = 0xFFFFFFFFu;

// Every lane gets the result.
template <class T>
__device__ inline T warp_sum(T v) {
    for (int step = warp_size / 2; step > 0; step /= 2) v += __shfl_xor_sync(whole_warp, v, step);
    return v;
}
template <class T>
__device__ inline T warp_max(T v) {
    for (int step = warp_size / 2; step > 0; step /= 2) {
        const T other = __shfl_xor_sync(whole_warp, v, step);
        v = other > v ? other : v;
    }
    return v;
}

// Every thread gets the sum; `partial` [blockDim.x / warp_size] in shared memory is free again when all have it.
template <class T>
__device__ inline T block_sum(T v, T* partial) {
    v = warp_sum(v);
    if (threadIdx.x % warp_size == 0) partial[threadIdx.x / warp_size] = v;
    __syncthreads();  // partial sums written above, read by all below
    T sum = partial[0];
    for (unsigned i = 1; i < blockDim.x / warp_size; ++i) sum += partial[i];
    __syncthreads();  // partial sums read above, overwritten by the next call
    return sum;
}
template <class T>
__device__ inline T block_max(T v, T* partial) {
    v = warp_max(v);
    if (threadIdx.x % warp_size == 0) partial[threadIdx.x / warp_size] = v;
    __syncthreads();  // partial maxima written above, read by all below
    T most = partial[0];
    for (unsigned i = 1; i < blockDim.x / warp_size; ++i) most = partial[i] > most ? partial[i] : most;
    __syncthreads();  // partial maxima read above, overwritten by the next call
    return most;
}

}  // namespace alia::cuda
