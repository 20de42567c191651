// libFuzzer: any bytes as a text. The first byte chooses the tokenizer, the second where a user's text lies. FUZZ_DATA
// is the folder of the tiny tokenizer files.
#include "engine/tokenizer.h"

using namespace alia;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    static const auto tokenizers = [] {
        std::vector<std::shared_ptr<const Tokenizer>> all;
        for (const char* name : {"metaspace_first.json", "metaspace_always.json", "prepend.json", "gpt2.json",
                                 "llama3.json", "smollm.json", "llama.gguf", "sentencepiece.model"}) {
            all.push_back(open_tokenizer(std::string(FUZZ_DATA "/") + name));
        }
        return all;
    }();
    if (size < 2) return 0;
    const Tokenizer& t = *tokenizers[data[0] % tokenizers.size()];
    const std::string_view text(reinterpret_cast<const char*>(data) + 2, size - 2);
    const TextRange user[] = {{std::min<size_t>(data[1], text.size()), text.size()}};
    const auto ids = t.encode(text, {true, true, user});
    TextStream stream(t);
    std::string streamed;
    for (const int32_t id : ids) streamed += stream.append(id);
    if (streamed + stream.finish() != t.decode(ids)) __builtin_trap();
    for (const int32_t id : t.encode(text, {false, false})) {
        if (t.special(id) && id != t.unknown) __builtin_trap();
    }
    return 0;
}
