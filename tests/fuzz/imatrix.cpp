// libFuzzer: an importance matrix, whose numbers quantisers weigh errors by.
#include <cmath>

#include "engine/imatrix_reader.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    try {
        for (const auto& [name, weights] :
             alia::read_imatrix(alia::File::from_memory("fuzz", std::as_bytes(std::span(data, size)))))
            for (float w : weights)
                if (!(std::isfinite(w) && w >= 0)) __builtin_trap();
    } catch (const alia::Error&) {}
    return 0;
}
