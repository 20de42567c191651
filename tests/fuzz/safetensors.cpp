// Fuzzing the safetensors reader.
#include "tests/consume.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    try {
        auto file = alia::File::from_memory("fuzz", std::as_bytes(std::span(data, size)));
        auto checkpoint = alia::read_safetensors({file});
        consume(checkpoint);
    } catch (const alia::Error&) {}
    return 0;
}
