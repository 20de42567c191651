// The CUDA device of a build without CUDA.
#include "kernels/cuda/device.h"

namespace alia::cuda {

const Kernels& find(std::string_view, int&) {
    fail(Status::device_unavailable, "this build of libalia has no CUDA device; use \"cpu\"");
}

int devices() { return 0; }

}  // namespace alia::cuda
