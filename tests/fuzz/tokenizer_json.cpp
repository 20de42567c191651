// libFuzzer: any bytes as a tokenizer.json give a typed error or a tokenizer that works.
#include "engine/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    try {
        const auto t = alia::read_tokenizer_json({reinterpret_cast<const char*>(data), size}, "fuzz");
        const std::string_view text = "el <|im_end|> el\n\xE6\x97\xA5 'll 123 e\xCC\x81\xFF";
        const auto ids = t->encode(text);
        t->decode(ids);
        for (const int32_t id : t->encode(text, {false, false})) {
            if (t->special(id) && id != t->unknown) __builtin_trap();
        }
    } catch (const alia::Error&) {}
    return 0;
}
