// Which CPU tables this processor runs.
#include "kernels/cpu/isa.h"

#include <iterator>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace alia::cpu {
namespace {

// How many tables beyond the last one the processor, and the system that saves its registers, can run.
int instruction_level() {
#if defined(__x86_64__)
    unsigned a, b, c, d;
    const bool f16c = __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);  // clang 14 does not know its name below
    const bool avx2 = f16c && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
                        __builtin_cpu_supports("avx512vnni");
    const bool bf16 = avx512 && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & bit_AVX512BF16);
    return bf16 ? 3 : avx512 ? 2 : avx2 ? 1 : 0;
#else
    return 0;
#endif
}

}  // namespace

std::span<const Kernels* const> tables() {
    static constexpr const Kernels* all[] = {
#if defined(__x86_64__)
        &cpu_avx512bf16,
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
