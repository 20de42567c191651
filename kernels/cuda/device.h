// What the CUDA folder gives to kernels/device.cpp; none.cpp defines it where CUDA is not built.
#pragma once
#include <string_view>

#include "kernels/error.h"
#include "kernels/ops.h"

namespace alia::cuda {

// The table of "cuda" (the first card that its kernels run on) or "cuda:N", and which card; device_unavailable with
// what to do about it.
const Kernels& find(std::string_view name, int& ordinal);
int devices();  // that can be used now

}  // namespace alia::cuda
