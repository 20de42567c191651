// Catch2's main for programs on the emulated device. The environment's ALIA_EMULATED says how kernels are scheduled:
// "ahead" (without it), "reversed" or "random"; ALIA_TEST_SEED is the seed of the last one. ALIA_WITHOUT=FILE:LINE
// takes that barrier or wait out of the kernels, and ALIA_SITES=1 lists those that were met (mutations.py).
// ALIA_LAUNCHES=1 lists the kernels that ran, by where their code lies, with threads and dynamic shared memory of a
// block (scripts/cuda-resources).
#define CATCH_CONFIG_RUNNER
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include "tests/catch.h"
#include "tests/emulated/emulated.h"

extern "C" const char __executable_start;  // the linker's: addresses of the program's file begin here

int main(int argc, char** argv) {
    const char* order = std::getenv("ALIA_EMULATED");
    const char* seed = std::getenv("ALIA_TEST_SEED");
    const std::string_view name = order ? order : "ahead";
    emulated::options.order = name == "random"     ? emulated::Order::random
                              : name == "reversed" ? emulated::Order::reversed
                                                   : emulated::Order::ahead;
    if (seed) emulated::options.seed = std::strtoull(seed, nullptr, 10);
    std::string file;
    if (const char* without = std::getenv("ALIA_WITHOUT")) {
        file = without;
        const size_t colon = file.rfind(':');
        emulated::options.without.line = std::atoi(file.c_str() + colon + 1);
        file.resize(colon);
        emulated::options.without.file = file.c_str();
    }
    const int failed = Catch::Session().run(argc, argv);
    for (const std::string& report : emulated::reports()) std::printf("emulated device: %s\n", report.c_str());
    if (std::getenv("ALIA_SITES"))
        for (const emulated::Site& s : emulated::all_sites()) std::printf("site %s:%d\n", s.file, s.line);
    if (std::getenv("ALIA_LAUNCHES"))
        for (const emulated::Launched& l : emulated::launched())
            std::printf("launch %tx %d %d\n", static_cast<const char*>(l.kernel) - &__executable_start, l.threads,
                        l.shared);
    std::printf("order %s, seed %llu, %lld runtime calls\n", name.data(), (unsigned long long)emulated::options.seed,
                (long long)emulated::calls());
    return failed;
}
