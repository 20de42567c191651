// Catch2's main for programs on a card. Returns 77, skipped, where no card can run the kernels.
#define CATCH_CONFIG_RUNNER
#include <cstdio>

#include "kernels/cuda/device.h"
#include "tests/catch.h"

int main(int argc, char** argv) {
    if (alia::cuda::devices() == 0) {
        std::printf("skipped: there is no CUDA card here that runs the kernels\n");
        return 77;
    }
    return Catch::Session().run(argc, argv);
}
