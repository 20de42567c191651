// Fuzzing the JSON reader.
#include "tests/consume.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    try {
        auto document = alia::JsonDocument::parse({reinterpret_cast<const char*>(data), size}, "fuzz");
        consume(document.root());
    } catch (const alia::Error&) {}
    return 0;
}
