// The activation of the fused gate and up products and of `glu`: one function, so that both give the same bits.
#pragma once
#include <cuda_runtime.h>

namespace alia::cuda {

__device__ inline float silu(float x) { return x / (1 + expf(-x)); }

}  // namespace alia::cuda
