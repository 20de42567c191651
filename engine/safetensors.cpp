// safetensors: an eight-byte length, a JSON header of that length, then the tensors' bytes without holes.
// https://github.com/huggingface/safetensors#format
#include <algorithm>
#include <map>

#include "engine/checkpoint.h"

namespace alia {

namespace {

constexpr uint64_t max_header = 100'000'000;  // the format's own limit

void read_dtype(Array& array, const Json* dtype, const Place& place) {
    if (!dtype || !dtype->is(Json::Kind::string)) fail(Status::malformed, place, "no dtype");
    std::string_view name = dtype->string();
    for (Format f : {Format::F32, Format::F16, Format::BF16})
        if (name == info(f).name) return void(array.format = f);
    for (Raw r = Raw::BOOL; r <= Raw::U64; r = Raw(int(r) + 1))
        if (name == info(r).name) return void(array.raw = r);
    fail(Status::unsupported, place, "numbers of dtype %.*s", int(std::min<size_t>(name.size(), 32)), name.data());
}

// The n integers of an array; malformed where it holds anything else.
std::span<const Json> integers(const Json& tensor, const char* key, const Place& place) {
    const Json* list = tensor.find(key);
    bool good = list && list->is(Json::Kind::array);
    for (const Json& j : good ? list->items() : std::span<const Json>{})
        good = good && j.is(Json::Kind::integer) && j.integer >= 0;
    if (!good) fail(Status::malformed, place, "%s is not a list of sizes", key);
    return list->items();
}

Array read_array(const Json& tensor, const File& file, int64_t data_start) {
    Place place{file.path, tensor.key};
    if (!tensor.is(Json::Kind::object)) fail(Status::malformed, place, "is not described by an object");
    Array array;
    array.name = tensor.key;
    read_dtype(array, tensor.find("dtype"), place);

    auto shape = integers(tensor, "shape", place);
    if (shape.size() > 2)
        fail(Status::unsupported, place, "a tensor of rank %zu: only numbers, vectors and matrices are read",
             shape.size());
    array.rows = shape.size() == 2 ? shape[0].integer : 1;
    array.columns = shape.empty() ? 1 : shape.back().integer;

    auto range = integers(tensor, "data_offsets", place);
    if (range.size() != 2 || range[0].integer > range[1].integer)
        fail(Status::malformed, place, "data_offsets is not a range of bytes");
    array.bytes = range[1].integer - range[0].integer;
    auto offset = checked_add(data_start, range[0].integer);
    if (!offset) fail(Status::truncated, place, "data_offsets reach beyond the file");
    array.offset = *offset;
    return array;
}

void check_strings(const Json& map, const Place& place) {
    bool good = map.is(Json::Kind::object);
    for (const Json& j : map.items()) good = good && j.is(Json::Kind::string);
    if (!good) fail(Status::malformed, place, "is not an object of strings");
}

// Returns the byte where tensors start.
int64_t read_header(Checkpoint& checkpoint, int index, const CheckpointOptions& options) {
    const File& file = *checkpoint.files[index];
    Place place{file.path, {}, 0};
    std::string_view text = file.text();
    if (text.size() < 8) fail(Status::truncated, place, "a header needs 8 bytes, the file has %zu", text.size());
    uint64_t length = 0;
    for (int i = 0; i < 8; ++i) length |= uint64_t(uint8_t(text[i])) << 8 * i;
    if (length > max_header) fail(Status::limit, place, "a header of %llu bytes", (unsigned long long)length);
    if (length > text.size() - 8)
        fail(Status::truncated, place, "a header of %llu bytes in a file of %zu", (unsigned long long)length,
             text.size());

    text = text.substr(8, length);
    if (!text.starts_with('{')) fail(Status::malformed, {file.path, {}, 8}, "the header is not a JSON object");
    auto header = JsonDocument::parse(text, file.path, options.json, 8);
    int64_t data_start = 8 + int64_t(length);
    for (const Json& tensor : header.root().items()) {
        if (tensor.key == "__metadata__") {
            check_strings(tensor, {file.path, tensor.key});
            continue;
        }
        Array array = read_array(tensor, file, data_start);
        array.file = index;
        add_array(checkpoint, std::move(array));
    }
    return data_start;
}

// A file name of the same directory: an index cannot lead elsewhere.
bool plain_name(std::string_view name) {
    return !name.empty() && name != "." && name != ".." &&
           name.find_first_of(std::string_view("/\\\0", 3)) == name.npos;
}

// The shards of an index, each once; `expected` takes the shard that each tensor should be in.
std::vector<std::shared_ptr<const File>> open_shards(const std::string& directory, const std::string& index_path,
                                                     const Json& weight_map, std::vector<int>& expected) {
    check_strings(weight_map, {index_path, "weight_map"});
    std::vector<std::shared_ptr<const File>> shards;
    std::map<std::string_view, int> numbers;
    for (const Json& entry : weight_map.items()) {
        std::string_view name = entry.string();
        if (!plain_name(name)) fail(Status::malformed, {index_path, entry.key}, "a shard's name may not hold a path");
        auto [it, added] = numbers.try_emplace(name, int(shards.size()));
        if (added) {
            std::string path = directory + "/" + std::string(name);
            if (!file_exists(path)) fail(Status::missing, {path}, "this shard, named by the index, is not there");
            shards.push_back(File::open(path));
        }
        expected.push_back(it->second);
    }
    return shards;
}

JsonDocument read_json(const std::string& path, const CheckpointOptions& options) {
    if (!file_exists(path)) fail(Status::missing, {path}, "is not there");
    return JsonDocument::parse(File::open(path)->text(), path, options.json);
}

Checkpoint open_sharded(const std::string& directory, const std::string& index_path, const CheckpointOptions& options) {
    auto index = read_json(index_path, options);
    const Json* weight_map = index.root().find("weight_map");
    if (!weight_map) fail(Status::malformed, {index_path, "weight_map"}, "the index has none");
    if (weight_map->count > max_arrays)
        fail(Status::limit, {index_path, "weight_map"}, "%u tensors", weight_map->count);
    std::vector<int> expected;
    auto checkpoint = read_safetensors(open_shards(directory, index_path, *weight_map, expected), options);
    for (size_t i = 0; i < expected.size(); ++i) {
        std::string_view name = weight_map->items()[i].key;
        const Array* array = checkpoint.find(name);
        if (!array) array = checkpoint.find_part(name);
        if (!array || array->file != expected[i])
            fail(Status::missing, {checkpoint.files[expected[i]]->path, name},
                 "the index says that this tensor is here");
    }
    return checkpoint;
}

}  // namespace

Checkpoint read_safetensors(std::vector<std::shared_ptr<const File>> shards, const CheckpointOptions& options) {
    Checkpoint checkpoint;
    checkpoint.kind = Checkpoint::Kind::safetensors;
    checkpoint.files = std::move(shards);
    std::vector<int64_t> free;  // bytes of each shard that no tensor has claimed
    for (size_t i = 0; i < checkpoint.files.size(); ++i)
        free.push_back(int64_t(checkpoint.files[i]->bytes.size()) - read_header(checkpoint, int(i), options));
    sort_arrays(checkpoint);
    for (const Array& array : checkpoint.arrays) free[array.file] -= array.bytes;
    for (size_t i = 0; i < free.size(); ++i)
        if (free[i] != 0)
            fail(Status::malformed, {checkpoint.files[i]->path}, "%lld bytes belong to no tensor", (long long)free[i]);
    auto raw = std::stable_partition(checkpoint.arrays.begin(), checkpoint.arrays.end(),
                                     [](const Array& array) { return array.raw == Raw::none; });
    checkpoint.parts.assign(std::make_move_iterator(raw), std::make_move_iterator(checkpoint.arrays.end()));
    checkpoint.arrays.erase(raw, checkpoint.arrays.end());
    return checkpoint;
}

Checkpoint open_safetensors(const std::string& path, const CheckpointOptions& options) {
    bool inside = is_directory(path);
    size_t slash = path.find_last_of('/');
    std::string directory = inside ? path : slash == path.npos ? "." : path.substr(0, slash);
    std::string single = inside ? path + "/model.safetensors" : path, index = path + "/model.safetensors.index.json";

    Checkpoint checkpoint;
    if (options.arrays) {
        if (inside && !file_exists(single) && file_exists(index)) {
            checkpoint = open_sharded(directory, index, options);
        } else {
            if (inside && !file_exists(single))
                fail(Status::missing, {path}, "holds neither model.safetensors nor model.safetensors.index.json");
            checkpoint = read_safetensors({File::open(single)}, options);
        }
    }
    checkpoint.path = path;
    checkpoint.metadata_path = directory + "/config.json";
    checkpoint.generation_path = directory + "/generation_config.json";
    checkpoint.metadata = read_json(checkpoint.metadata_path, options);
    if (file_exists(checkpoint.generation_path)) checkpoint.generation = read_json(checkpoint.generation_path, options);
    return checkpoint;
}

}  // namespace alia
