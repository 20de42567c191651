// What every checkpoint format shares: finding the files, and the checks that need no format.
#include "engine/checkpoint.h"

#include <algorithm>
#include <numeric>

#include "engine/gguf_parts.h"

namespace alia {

namespace {

// The only GGUF model of a directory, or nothing.
std::string gguf_of(const std::string& directory) {
    std::string found;
    for (const std::string& name : list_directory(directory)) {
        auto split = SplitName::of(name);
        if (!name.ends_with(".gguf") || (split && split->number != 1)) continue;
        if (!found.empty()) fail(Status::invalid_argument, {directory}, "holds several GGUF models: name one of them");
        found = directory + "/" + name;
    }
    return found;
}

// Directories with GGUF files often hold the config.json of the model that they were made from.
Checkpoint open_directory(const std::string& path, const CheckpointOptions& options) {
    for (auto name : {"/model.safetensors", "/model.safetensors.index.json"})
        if (file_exists(path + name)) return open_safetensors(path, options);
    if (std::string model = gguf_of(path); !model.empty()) return open_gguf(model, options);
    if (file_exists(path + "/config.json")) return open_safetensors(path, options);
    fail(Status::not_found, {path}, "holds neither model.safetensors nor a GGUF model");
}

const Array* find_in(const std::vector<Array>& arrays, std::string_view name) {
    auto it = std::lower_bound(arrays.begin(), arrays.end(), name,
                               [](const Array& a, std::string_view wanted) { return a.name < wanted; });
    return it != arrays.end() && it->name == name ? &*it : nullptr;
}

}  // namespace

Checkpoint open_checkpoint(const std::string& path, const CheckpointOptions& options) {
    if (path.find('\0') != path.npos) fail(Status::invalid_argument, "a path holds a zero byte");
    if (is_directory(path)) return open_directory(path, options);
    auto file = File::open(path);
    if (file->text().starts_with("GGUF")) return open_gguf(path, options);
    if (path.ends_with(".safetensors")) return open_safetensors(path, options);
    if (path.ends_with(".gguf")) fail(Status::malformed, {path, {}, 0}, "a GGUF file starts with \"GGUF\"");
    fail(Status::unsupported, {path}, "is neither a GGUF file nor a .safetensors file");
}

const RawInfo& info(Raw raw) {
    static constexpr RawInfo table[] = {{"none", 0},    {"BOOL", 1}, {"U8", 1},  {"I8", 1},  {"F8_E5M2", 1},
                                        {"F8_E4M3", 1}, {"I16", 2},  {"U16", 2}, {"I32", 4}, {"U32", 4},
                                        {"F64", 8},     {"I64", 8},  {"U64", 8}};
    static_assert(std::size(table) == size_t(Raw::U64) + 1);
    return table[size_t(raw)];
}

const Array* Checkpoint::find(std::string_view name) const { return find_in(arrays, name); }
const Array* Checkpoint::find_part(std::string_view name) const { return find_in(parts, name); }

Place Checkpoint::place(const Array& array) const { return {files[array.file]->path, array.name, array.offset}; }

void add_array(Checkpoint& checkpoint, Array array) {
    const File& file = *checkpoint.files[array.file];
    Place place{file.path, array.name, array.offset};
    const RawInfo& raw = info(array.raw);
    const FormatInfo format = array.raw == Raw::none ? info(array.format) : FormatInfo{raw.name, -1, 1, raw.bytes};
    if (int64_t(checkpoint.arrays.size()) == max_arrays)
        fail(Status::limit, place, "more than %lld tensors", (long long)max_arrays);
    if (array.rows < 1 || array.columns < 1) fail(Status::shape, place, "a tensor of no numbers");
    if (array.columns % format.n)
        fail(Status::shape, place, "rows of %lld numbers: %s has blocks of %d", (long long)array.columns, format.name,
             format.n);
    auto row = checked_multiply(array.columns / format.n, format.bytes);
    auto bytes = row ? checked_multiply(*row, array.rows) : std::nullopt;
    if (bytes && array.bytes && array.bytes != *bytes)
        fail(Status::malformed, place, "%lld x %lld numbers of %s are %lld bytes, and the file says %lld",
             (long long)array.rows, (long long)array.columns, format.name, (long long)*bytes, (long long)array.bytes);
    auto end = bytes ? checked_add(array.offset, *bytes) : std::nullopt;
    if (!end || *end > int64_t(file.bytes.size()))
        fail(Status::truncated, place, "%lld x %lld numbers of %s reach beyond the file's %lld bytes",
             (long long)array.rows, (long long)array.columns, format.name, (long long)file.bytes.size());
    array.bytes = *bytes;
    array.data = file.bytes.data() + array.offset;
    checkpoint.arrays.push_back(std::move(array));
}

void sort_arrays(Checkpoint& checkpoint) {
    auto& arrays = checkpoint.arrays;
    std::sort(arrays.begin(), arrays.end(), [](const Array& a, const Array& b) { return a.name < b.name; });
    auto twice = std::adjacent_find(arrays.begin(), arrays.end(),
                                    [](const Array& a, const Array& b) { return a.name == b.name; });
    if (twice != arrays.end()) fail(Status::duplicate, checkpoint.place(*twice), "two tensors of this name");

    std::vector<uint32_t> order(arrays.size());
    std::iota(order.begin(), order.end(), 0);
    std::sort(order.begin(), order.end(), [&](uint32_t i, uint32_t j) {
        const Array &a = arrays[i], &b = arrays[j];
        return a.file != b.file ? a.file < b.file : a.offset < b.offset;
    });
    for (size_t i = 1; i < order.size(); ++i) {
        const Array &before = arrays[order[i - 1]], &array = arrays[order[i]];
        if (before.file == array.file && before.offset + before.bytes > array.offset)
            fail(Status::overlap, checkpoint.place(array), "shares bytes with %.100s", before.name.c_str());
    }
}

std::optional<int64_t> checked_multiply(int64_t a, int64_t b) {
    int64_t result;
    if (a < 0 || b < 0 || __builtin_mul_overflow(a, b, &result)) return {};
    return result;
}

std::optional<int64_t> checked_add(int64_t a, int64_t b) {
    int64_t result;
    if (a < 0 || b < 0 || __builtin_add_overflow(a, b, &result)) return {};
    return result;
}

}  // namespace alia
