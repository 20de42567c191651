// Which CPU tables this processor runs.
#include "kernels/cpu/isa.h"

#include <iterator>

namespace alia::cpu {
namespace {

// How many tables beyond the last one the processor, and the system that saves its registers, can run.
int instruction_level() {
#if defined(__x86_64__)
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
    return avx512 ? 2 : avx2 ? 1 : 0;
#else
    return 0;
#endif
}

}  // namespace

std::span<const Kernels* const> tables() {
    static constexpr const Kernels* all[] = {
#if defined(__x86_64__)
        &cpu_avx512,
        &cpu_avx2,
#endif
        &cpu_base
    };
    return std::span(all).subspan(size_t(std::size(all) - 1 - instruction_level()));
}

const Kernels* find(std::string_view isa) {
    if (isa.empty()) return tables().front();
    for (const Kernels* k : tables())
        if (std::string_view(k->name).substr(4) == isa) return k;  // "cpu_" before it
    return nullptr;
}

}  // namespace alia::cpu
