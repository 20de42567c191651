// The CUDA device of a build without CUDA.
#include "kernels/cuda/device.h"

namespace alia::cuda {

namespace {

constexpr const char* why = "this build of libalia has no CUDA device; use \"cpu\"";

}  // namespace

const Kernels& find(std::string_view, int&) { fail(Status::device_unavailable, "%s", why); }

int devices() { return 0; }

Report report() { return {.reason = why}; }

}  // namespace alia::cuda
