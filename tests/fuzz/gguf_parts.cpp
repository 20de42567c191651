// libFuzzer: a model in two GGUF files, one behind the other in the input, and the configuration in the first.
#include "tests/consume.h"
#include "tests/fuzz/files.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    const auto [first, second] = parts<2>({data, size});
    try {
        const auto checkpoint = alia::read_gguf({alia::File::from_memory("first", std::as_bytes(first)),
                                                 alia::File::from_memory("second", std::as_bytes(second))});
        consume(checkpoint);
        consume(alia::read_config(checkpoint));
    } catch (const alia::Error&) {}
    return 0;
}
