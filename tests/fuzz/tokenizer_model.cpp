// libFuzzer: any bytes as a tokenizer.model, through our walk and then the library.
#include "engine/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    try {
        const auto t = alia::read_tokenizer_model({reinterpret_cast<const char*>(data), size}, "fuzz");
        t->decode(t->encode("el  perro\n<|im_end|> \xE6\x97\xA5 e\xCC\x81\xFF\t\t"));
    } catch (const alia::Error&) {}
    return 0;
}
