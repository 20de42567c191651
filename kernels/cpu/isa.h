// Which CPU tables this processor runs.
#pragma once
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/ops.h"

namespace alia::cpu {

// The best first; none on a processor that is too old for all of them.
std::span<const Kernels* const> tables();
// Every table of this build, the best first, and which instructions it lacks here; "" where it runs.
struct TableReport {
    const Kernels* kernels;
    std::string lacks;
};
std::vector<TableReport> reports();
// "avx2" of "cpu:avx2"; null where this processor or this build has no such table. An empty name is the best.
const Kernels* find(std::string_view isa);

}  // namespace alia::cpu
