// GGUF, versions 2 and 3, little endian, in one file or several.
// Layout: "GGUF", version, tensor count, key count; the keys; the tensors' descriptions; padding; the tensors' bytes.
// https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
#include <algorithm>
#include <bit>

#include "engine/checkpoint.h"
#include "engine/gguf_parts.h"

namespace alia {

namespace {

enum ValueType : uint32_t { u8, i8, u16, i16, u32, i32, f32, boolean, string, array, u64, i64, f64, value_types };

constexpr uint64_t value_bytes[value_types] = {1, 1, 2, 2, 4, 4, 4, 1, 8, 12, 8, 8, 8};  // at least
constexpr uint64_t tensor_bytes = 8 + 4 + 8 + 4 + 8;                                     // at least, of a description
constexpr uint64_t max_key = 65535, max_name = 64;                                       // the format's own limits
// Tree, names and descriptions stay within the file's size and 64 MiB: max_arrays descriptions take some 20 of them.
constexpr uint64_t tree_slack = uint64_t(32) << 20;

// Types of ggml that libalia does not read, for errors.
struct OtherType {
    uint32_t number;
    const char* name;
};
constexpr OtherType other_types[] = {{9, "Q8_1"},   {15, "Q8_K"},  {16, "IQ2_XXS"}, {17, "IQ2_XS"}, {18, "IQ3_XXS"},
                                     {19, "IQ1_S"}, {21, "IQ3_S"}, {22, "IQ2_S"},   {24, "I8"},     {25, "I16"},
                                     {26, "I32"},   {27, "I64"},   {28, "F64"},     {29, "IQ1_M"},  {34, "TQ1_0"},
                                     {35, "TQ2_0"}, {39, "MXFP4"}, {40, "NVFP4"}};

Format format_of(uint32_t type, const Place& place) {
    for (int i = 0; i < Formats::size; ++i)
        if (info(Format(i)).gguf == int64_t(type)) return Format(i);
    for (auto& other : other_types)
        if (other.number == type) fail(Status::unsupported, place, "numbers of type %s", other.name);
    fail(Status::unsupported, place, "numbers of the unknown type %u", type);
}

// Reads forward through a file; what is not there is `truncated`.
struct Cursor {
    const File& file;
    std::string_view item = {};  // being read, for errors
    uint64_t at = 0;

    Place place() const { return {file.path, item, int64_t(at)}; }
    uint64_t left() const { return file.bytes.size() - at; }

    std::string_view take(uint64_t bytes) {
        if (bytes > left())
            fail(Status::truncated, place(), "%llu bytes are announced and %llu left", (unsigned long long)bytes,
                 (unsigned long long)left());
        auto result = file.text().substr(at, bytes);
        at += bytes;
        return result;
    }
    template <class T>
    T number() {
        T value;
        std::memcpy(&value, take(sizeof value).data(), sizeof value);
        return value;
    }
    std::string_view text(uint64_t longest = UINT64_MAX) {
        uint64_t start = at, length = number<uint64_t>();
        if (length > longest)
            fail(Status::limit, {file.path, item, int64_t(start)}, "a name of %llu bytes", (unsigned long long)length);
        return take(length);
    }
    // How many follow, each of `least` bytes or more.
    uint64_t count(uint64_t least, const char* what) {
        uint64_t start = at, n = number<uint64_t>();
        if (n > left() / least)
            fail(Status::truncated, {file.path, item, int64_t(start)}, "%llu %s are announced and %llu bytes left",
                 (unsigned long long)n, what, (unsigned long long)left());
        return n;
    }
};

struct MetadataReader {
    Cursor& cursor;
    JsonBuilder& builder;
    int depth;

    void integer(Json& out, int64_t value) {
        out.kind = Json::Kind::integer;
        out.integer = value;
    }
    void real(Json& out, double value) {
        out.kind = Json::Kind::real;
        out.real = value;
    }

    void value(Json& out, uint32_t type, int level) {
        switch (type) {
            case u8:
                return integer(out, cursor.number<uint8_t>());
            case i8:
                return integer(out, cursor.number<int8_t>());
            case u16:
                return integer(out, cursor.number<uint16_t>());
            case i16:
                return integer(out, cursor.number<int16_t>());
            case u32:
                return integer(out, cursor.number<uint32_t>());
            case i32:
                return integer(out, cursor.number<int32_t>());
            case i64:
                return integer(out, cursor.number<int64_t>());
            case u64: {
                uint64_t n = cursor.number<uint64_t>();
                return n <= uint64_t(INT64_MAX) ? integer(out, int64_t(n)) : real(out, double(n));
            }
            case f32:
                return real(out, cursor.number<float>());
            case f64:
                return real(out, cursor.number<double>());
            case string:
                return builder.string(out, cursor.text());
            case array:
                return list(out, level);
            case boolean: {
                auto n = cursor.number<uint8_t>();
                if (n > 1) fail(Status::malformed, cursor.place(), "a truth value of %d", n);
                out.kind = Json::Kind::boolean;
                out.boolean = n;
                return;
            }
        }
        fail(Status::malformed, cursor.place(), "a value of the unknown type %u", type);
    }

    void list(Json& out, int level) {
        if (level == depth) fail(Status::limit, cursor.place(), "nested deeper than %d levels", depth);
        auto type = cursor.number<uint32_t>();
        if (type >= value_types) fail(Status::malformed, cursor.place(), "values of the unknown type %u", type);
        uint64_t n = cursor.count(value_bytes[type], "values");
        for (Json& child : builder.children(out, Json::Kind::array, n)) value(child, type, level + 1);
    }

    void object(Json& out, uint64_t keys) {
        for (Json& child : builder.children(out, Json::Kind::object, keys)) {
            child.key = builder.copy(cursor.text(max_key));
            cursor.item = child.key;
            auto type = cursor.number<uint32_t>();
            value(child, type, 0);
            cursor.item = {};
        }
        builder.index(out);
    }
};

// Rows of `columns` numbers, columns being the first and fastest dimension.
Array read_array(Cursor& cursor) {
    Array array;
    array.name = cursor.text(max_name);
    auto dimensions = cursor.number<uint32_t>();
    Place place{cursor.file.path, array.name, int64_t(cursor.at) - 4};
    if (dimensions < 1 || dimensions > 4) fail(Status::unsupported, place, "a tensor of %u dimensions", dimensions);
    int64_t size[4] = {1, 1, 1, 1};
    for (uint32_t i = 0; i < dimensions; ++i) {
        auto n = cursor.number<uint64_t>();
        if (n < 1 || n > uint64_t(INT64_MAX))
            fail(Status::shape, place, "dimension %u is %llu", i, (unsigned long long)n);
        size[i] = int64_t(n);
    }
    if (size[2] != 1 || size[3] != 1)
        fail(Status::unsupported, place, "a tensor of rank %u: only vectors and matrices are read", dimensions);
    array.columns = size[0];
    array.rows = size[1];
    place.offset = int64_t(cursor.at);
    array.format = format_of(cursor.number<uint32_t>(), place);

    place.offset = int64_t(cursor.at);
    auto offset = cursor.number<uint64_t>();
    if (offset > uint64_t(INT64_MAX)) fail(Status::truncated, place, "its bytes start beyond the file");
    array.offset = int64_t(offset);
    return array;
}

uint64_t alignment_of(const Json& metadata, const File& file) {
    const Json* j = metadata.find("general.alignment");
    if (!j) return 32;
    if (!j->is(Json::Kind::integer) || j->integer < 8 || j->integer > 1 << 20 ||
        !std::has_single_bit(uint64_t(j->integer)))
        fail(Status::malformed, {file.path, j->key}, "is not a power of two from 8 to 2^20");
    return uint64_t(j->integer);
}

// One file: its metadata is returned, its tensors are added to the checkpoint.
JsonDocument read_part(Checkpoint& checkpoint, int index, const CheckpointOptions& options) {
    const File& file = *checkpoint.files[index];
    Cursor cursor{file};
    if (cursor.take(4) != "GGUF") fail(Status::malformed, {file.path, {}, 0}, "a GGUF file starts with \"GGUF\"");
    auto version = cursor.number<uint32_t>();
    if (version != 2 && version != 3)
        fail(Status::unsupported, {file.path, {}, 4}, version > 0xFFFF ? "GGUF in big endian (%#x)" : "GGUF version %u",
             version);
    uint64_t tensors = cursor.count(tensor_bytes, "tensors"), keys = cursor.count(8 + 4 + 1, "keys");
    if (tensors > uint64_t(max_arrays))
        fail(Status::limit, {file.path, {}, 8}, "%llu tensors", (unsigned long long)tensors);

    JsonBuilder builder(file.path, std::min<uint64_t>(options.json.bytes, file.bytes.size() + tree_slack));
    MetadataReader{cursor, builder, std::clamp(options.json.depth, 1, 512)}.object(builder.root(), keys);
    auto metadata = builder.finish();
    if (!options.arrays) return metadata;

    uint64_t alignment = alignment_of(metadata.root(), file);
    std::vector<Array> arrays;
    arrays.reserve(tensors);
    for (uint64_t i = 0; i < tensors; ++i) arrays.push_back(read_array(cursor));
    int64_t data_start = int64_t((cursor.at + alignment - 1) / alignment * alignment);
    checkpoint.arrays.reserve(checkpoint.arrays.size() + tensors);
    for (Array& array : arrays) {
        Place place{file.path, array.name, array.offset};
        if (array.offset % int64_t(alignment))
            fail(Status::malformed, place, "its bytes are not aligned to %llu", (unsigned long long)alignment);
        auto offset = checked_add(data_start, array.offset);
        if (!offset) fail(Status::truncated, place, "its bytes start beyond the file");
        array.offset = *offset;
        array.file = index;
        add_array(checkpoint, std::move(array));
    }
    return metadata;
}

int64_t split_number(const Json& metadata, const File& file, const char* key, int64_t absent) {
    const Json* j = metadata.find(key);
    if (!j) return absent;
    if (!j->is(Json::Kind::integer) || j->integer < 0) fail(Status::malformed, {file.path, key}, "is not a count");
    return j->integer;
}

// All parts of the model that `path` is one of, by their names.
std::vector<std::shared_ptr<const File>> open_parts(const std::string& path) {
    auto split = SplitName::of(path);
    if (!split) return {File::open(path)};
    std::vector<std::shared_ptr<const File>> parts;
    for (int i = 1; i <= split->count; ++i) {
        std::string part = split->part(i);
        if (!file_exists(part)) fail(Status::missing, {part}, "this part of the model is not there");
        parts.push_back(File::open(part));
    }
    return parts;
}

}  // namespace

Checkpoint read_gguf(std::vector<std::shared_ptr<const File>> parts, const CheckpointOptions& options) {
    Checkpoint checkpoint;
    checkpoint.kind = Checkpoint::Kind::gguf;
    checkpoint.files = std::move(parts);
    int64_t count = int64_t(checkpoint.files.size()), promised = -1;
    for (int i = 0; i < count; ++i) {
        const File& file = *checkpoint.files[i];
        auto metadata = read_part(checkpoint, i, options);
        int64_t of = split_number(metadata.root(), file, "split.count", 1);
        if (std::max<int64_t>(of, 1) != count)
            fail(Status::missing, {file.path, "split.count"}, "one of %lld parts, and the name tells of %lld",
                 (long long)of, (long long)count);
        if (split_number(metadata.root(), file, "split.no", i) != i)
            fail(Status::malformed, {file.path, "split.no"}, "part %d by its name says that it is another", i);
        promised = std::max(promised, split_number(metadata.root(), file, "split.tensors.count", -1));
        if (i == 0) checkpoint.metadata = std::move(metadata);
    }
    if (checkpoint.files.empty()) fail(Status::invalid_argument, "a model of no files");
    checkpoint.path = checkpoint.metadata_path = checkpoint.files[0]->path;
    sort_arrays(checkpoint);
    if (options.arrays && count > 1 && promised >= 0 && promised != int64_t(checkpoint.arrays.size()))
        fail(Status::missing, {checkpoint.path, "split.tensors.count"}, "%lld tensors are promised and %zu there",
             (long long)promised, checkpoint.arrays.size());
    return checkpoint;
}

Checkpoint open_gguf(const std::string& path, const CheckpointOptions& options) {
    Checkpoint checkpoint = read_gguf(open_parts(path), options);
    checkpoint.path = path;
    return checkpoint;
}

}  // namespace alia
