// libFuzzer: the vocabulary in a GGUF file's metadata, and a text through whatever loads.
#include "engine/tokenizer.h"

using namespace alia;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    try {
        const auto file = File::from_memory("fuzz", std::as_bytes(std::span(data, size)));
        const Checkpoint checkpoint = read_gguf({file});
        const auto t = find_tokenizer(checkpoint);
        if (t) t->decode(t->encode("el perro\n<|im_end|> \xE6\x97\xA5 casa\xFF  e\xCC\x81"));
    } catch (const Error&) {}
    return 0;
}
