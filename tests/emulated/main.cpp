// Catch2's main for programs on the emulated device. The environment's ALIA_EMULATED says how kernels are scheduled:
// "ahead" (without it), "reversed" or "random"; ALIA_TEST_SEED is the seed of the last one.
#define CATCH_CONFIG_RUNNER
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "tests/catch.h"
#include "tests/emulated/emulated.h"

int main(int argc, char** argv) {
    const char* order = std::getenv("ALIA_EMULATED");
    const char* seed = std::getenv("ALIA_TEST_SEED");
    const std::string_view name = order ? order : "ahead";
    emulated::options.order = name == "random"     ? emulated::Order::random
                              : name == "reversed" ? emulated::Order::reversed
                                                   : emulated::Order::ahead;
    if (seed) emulated::options.seed = std::strtoull(seed, nullptr, 10);
    const int failed = Catch::Session().run(argc, argv);
    for (const std::string& report : emulated::reports()) std::printf("emulated device: %s\n", report.c_str());
    std::printf("order %s, seed %llu, %lld runtime calls\n", name.data(), (unsigned long long)emulated::options.seed,
                (long long)emulated::calls());
    return failed;
}
