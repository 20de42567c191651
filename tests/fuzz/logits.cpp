// libFuzzer: the reference logits of `alia perplexity`, read for two chunks of tokens and a vocabulary of eight.
#include "bindings/cli/logits_file.h"
#include "tests/fuzz/files.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    static const Folder folder;
    const std::vector<int32_t> chunks[] = {{1, 2, 3}, {4, 5}};
    const int64_t vocabulary = 8;
    try {
        cli::LogitsReader reader(folder.write("logits", {data, size}), vocabulary, std::size(chunks));
        cli::ReferenceRow row;
        for (const auto& ids : chunks) {
            reader.chunk(ids);
            for (size_t i = 0; i + 1 < ids.size(); ++i) {
                reader.row(row);
                if (row.top < 0 || row.top >= vocabulary || row.below.size() != size_t(vocabulary)) __builtin_trap();
                for (float below : row.below)
                    if (!(below >= 0 && below <= 32)) __builtin_trap();
            }
        }
        reader.finish();
    } catch (const cli::Failure&) {}
    return 0;
}
