// libFuzzer: config.json, and the same text as generation_config.json.
#include "tests/consume.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    try {
        alia::Checkpoint checkpoint;
        checkpoint.metadata = alia::JsonDocument::parse({reinterpret_cast<const char*>(data), size}, "fuzz");
        checkpoint.generation = checkpoint.metadata;
        consume(alia::read_config(checkpoint));
    } catch (const alia::Error&) {}
    return 0;
}
