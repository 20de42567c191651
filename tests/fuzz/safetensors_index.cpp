// libFuzzer: a directory of two shards. The input is its index, then the shards "1" and "2".
#include "tests/consume.h"
#include "tests/fuzz/files.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    static const Folder folder;
    const auto [index, first, second] = parts<3>({data, size});
    folder.write("config.json", Bytes(reinterpret_cast<const uint8_t*>("{}"), 2));
    folder.write("model.safetensors.index.json", index);
    folder.write("1", first);
    folder.write("2", second);
    try {
        consume(alia::open_checkpoint(folder.path));
    } catch (const alia::Error&) {}
    return 0;
}
