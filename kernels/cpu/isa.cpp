// Which CPU tables this processor runs.
#include "kernels/cpu/isa.h"

#include <iterator>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace alia::cpu {
namespace {

constexpr const Kernels* all[] = {
#if defined(__x86_64__)
    &cpu_avx512bf16, &cpu_avx512, &cpu_avx2,
#endif
    &cpu_base};

// What the table of a level, counted from the last one, needs beyond the one below it; and the last one, beyond what
// everything else is compiled for.
struct Feature {
    int level;
    const char* name;
    bool there;  // in the processor, and its registers saved by the system
};

std::vector<Feature> features() {
#if defined(__x86_64__)
    unsigned a, b, c, d;
    const bool f16c = __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);  // clang 14 does not know its name below
    const bool bf16 = __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & bit_AVX512BF16);
    return {{0, "SSE4.2", bool(__builtin_cpu_supports("sse4.2"))},
            {1, "F16C", f16c},
            {1, "AVX2", bool(__builtin_cpu_supports("avx2"))},
            {1, "FMA", bool(__builtin_cpu_supports("fma"))},
            {2, "AVX512F", bool(__builtin_cpu_supports("avx512f"))},
            {2, "AVX512BW", bool(__builtin_cpu_supports("avx512bw"))},
            {2, "AVX512VL", bool(__builtin_cpu_supports("avx512vl"))},
            {2, "AVX512DQ", bool(__builtin_cpu_supports("avx512dq"))},
            {2, "AVX512_VNNI", bool(__builtin_cpu_supports("avx512vnni"))},
            {3, "AVX512_BF16", bf16}};
#else
    return {};
#endif
}

}  // namespace

std::vector<TableReport> reports() {
    const std::vector<Feature> known = features();
    std::vector<TableReport> found;
    for (int level = int(std::size(all)) - 1; const Kernels* kernels : all) {
        std::string lacks;
        for (const Feature& f : known)
            if (f.level <= level && !f.there) lacks += (lacks.empty() ? "" : ", ") + std::string(f.name);
        found.push_back({kernels, std::move(lacks)});
        --level;
    }
    return found;
}

std::span<const Kernels* const> tables() {
    size_t refused = 0;
    for (const TableReport& r : reports()) refused += !r.lacks.empty();
    return std::span(all).subspan(refused);
}

const Kernels* find(std::string_view isa) {
    for (const Kernels* k : tables())
        if (isa.empty() || std::string_view(k->name).substr(4) == isa) return k;  // "cpu_" before it
    return nullptr;
}

}  // namespace alia::cpu
