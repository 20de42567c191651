// Named arrays and metadata in files, whatever the file format. Every number in a Checkpoint has been checked: arrays
// lie inside their file, do not overlap, and have exactly the bytes that their shape and format need.
#pragma once
#include <optional>
#include <vector>

#include "engine/file.h"
#include "engine/json.h"
#include "kernels/formats.h"

namespace alia {

// Numbers that no kernel reads by themselves, by safetensors' names: what quantised weights are made of
// (engine/quantised.h).
enum class Raw : uint8_t { none, BOOL, U8, I8, F8_E5M2, F8_E4M3, I16, U16, I32, U32, F64, I64, U64 };
struct RawInfo {
    const char* name;
    int bytes;
};
const RawInfo& info(Raw);

// A matrix of `rows` rows; a vector has one row. Borrowed from the checkpoint's file; its bytes are nowhere aligned.
struct Array {
    std::string name;
    Format format = Format::F32;
    int64_t rows = 0, columns = 0;
    const std::byte* data = nullptr;
    int64_t bytes = 0;
    int file = 0;         // index into Checkpoint::files
    int64_t offset = 0;   // of data in that file
    Raw raw = Raw::none;  // where it is set, `format` says nothing
};

struct Checkpoint {
    enum class Kind { safetensors, gguf };

    Kind kind = Kind::safetensors;
    std::string path;                                // as opened: a directory or a file
    std::vector<std::shared_ptr<const File>> files;  // that hold arrays
    std::vector<Array> arrays;                       // by name, no name twice
    std::vector<Array> parts;                        // of quantised weights: raw numbers; by name, none of `arrays`
    // GGUF: the metadata as one object ("llama.block_count": 30, ...), keys as in the file.
    // Hugging Face directory: config.json.
    JsonDocument metadata;
    JsonDocument generation;                     // generation_config.json, or null
    std::string metadata_path, generation_path;  // the files that these two come from, or would
    bool drawn = false;  // no file: arrays have shapes and no bytes, and their numbers are random (engine/synthetic.h)

    const Array* find(std::string_view name) const;
    const Array* find_part(std::string_view name) const;
    // For errors about an array: its file, name and offset.
    Place place(const Array&) const;
};

struct CheckpointOptions {
    JsonLimits json;
    bool arrays = true;  // false reads metadata only
};

// MODEL as users name it: a GGUF file (any part of a split one: the others are found beside it), a Hugging Face
// directory (config.json with model.safetensors, or model.safetensors.index.json and its shards), or one .safetensors
// file with config.json beside it. A directory that holds just one GGUF model opens that. Errors: not_found, io,
// truncated, malformed, duplicate, overlap, missing (a shard), unsupported (a format or version), limit; each names
// file, tensor and offset.
Checkpoint open_checkpoint(const std::string& path, const CheckpointOptions& = {});

Checkpoint open_safetensors(const std::string& path, const CheckpointOptions&);
Checkpoint open_gguf(const std::string& path, const CheckpointOptions&);

// Files that are open already. safetensors: the shards, without any configuration; GGUF: the parts of one model in
// order.
Checkpoint read_safetensors(std::vector<std::shared_ptr<const File>> shards, const CheckpointOptions& = {});
Checkpoint read_gguf(std::vector<std::shared_ptr<const File>> parts, const CheckpointOptions& = {});

constexpr int64_t max_arrays = 65536;  // of a checkpoint

// For readers of formats. Adds `array`, of which all but `data` is given and `bytes` only where the file says it, once
// its bytes are known to lie in its file: shape, malformed, limit, truncated.
void add_array(Checkpoint&, Array array);
// All of them, by name: duplicate, overlap.
void sort_arrays(Checkpoint&);

// a * b and a + b of sizes from a file: nothing where the result is negative or does not fit.
std::optional<int64_t> checked_multiply(int64_t a, int64_t b);
std::optional<int64_t> checked_add(int64_t a, int64_t b);

}  // namespace alia
