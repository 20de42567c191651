// JSON text to a tree: simdjson's On-Demand API walks the text, an arena of our own keeps what it finds.
#include "engine/json.h"

#include <algorithm>
#include <bit>
#include <new>
#include <simdjson.h>
#include <vector>

#include "engine/hash.h"

namespace alia {

namespace {

constexpr uint32_t linear_members = 8;  // objects of more carry a hash table behind their children

// Folded products of the text's words and two secrets, so that no file can be made of colliding keys.
uint64_t hash(std::string_view text) {
    auto fold = [](uint64_t x, uint64_t y) {
        auto product = static_cast<unsigned __int128>(x) * y;
        return uint64_t(product) ^ uint64_t(product >> 64);
    };
    const uint64_t a = process_key(), b = fold(a, 0x9E3779B97F4A7C15);
    uint64_t h = a ^ text.size();
    for (size_t i = 0; i < text.size(); i += 8) {
        uint64_t word = 0;
        std::memcpy(&word, text.data() + i, std::min<size_t>(8, text.size() - i));
        h = fold(word ^ b, h ^ a);
    }
    return fold(h ^ b, a);
}

// Slots of the table behind the children of an object: a child's number plus one, or 0.
uint64_t table_size(uint64_t count) { return count > linear_members ? std::bit_ceil(2 * count) : 0; }

// The slot that holds `name`, or the free one where it would go.
uint64_t find_slot(const Json& object, const uint32_t* table, std::string_view name) {
    uint64_t mask = table_size(object.count) - 1, i = hash(name) & mask;
    while (table[i] && object.children[table[i] - 1].key != name) i = (i + 1) & mask;
    return i;
}

}  // namespace

const Json* Json::find(std::string_view name) const {
    if (kind != Kind::object || !count) return nullptr;
    const Json* found = nullptr;
    if (count > linear_members) {
        auto table = reinterpret_cast<const uint32_t*>(children + count);
        if (uint32_t child = table[find_slot(*this, table, name)]) found = &children[child - 1];
    } else {
        auto all = items();
        auto it = std::find_if(all.begin(), all.end(), [&](const Json& j) { return j.key == name; });
        if (it != all.end()) found = &*it;
    }
    return found && found->kind != Kind::null ? found : nullptr;
}

struct JsonDocument::Memory {
    Json root;
    uint64_t used = 0, limit = 0;
    std::byte* free = nullptr;
    uint64_t left = 0;  // bytes at `free`
    std::vector<std::unique_ptr<std::byte[]>> chunks;
};

const Json& JsonDocument::root() const {
    static const Json null{};
    return memory ? memory->root : null;
}

JsonBuilder::JsonBuilder(std::string_view file, uint64_t bytes) : file(file) {
    document.memory = std::make_shared<JsonDocument::Memory>();
    document.memory->limit = bytes;
}

Json& JsonBuilder::root() { return document.memory->root; }

void JsonBuilder::charge(uint64_t bytes) {
    auto& m = *document.memory;
    if (bytes > m.limit - m.used)
        fail(Status::limit, {file}, "its tree would take more than the %llu bytes allowed",
             (unsigned long long)m.limit);
    m.used += bytes;
}

void JsonBuilder::discharge(uint64_t bytes) { document.memory->used -= bytes; }

namespace {

// Aligned for Json where `align` says so; strings are packed.
std::byte* allocate(JsonBuilder& builder, JsonDocument::Memory& m, uint64_t bytes, bool align) {
    uint64_t skip = align ? -reinterpret_cast<uintptr_t>(m.free) % alignof(Json) : 0;
    if (skip + bytes > m.left) {
        skip = 0;
        uint64_t size = std::max(bytes, std::clamp<uint64_t>(m.used / 8, 4096, 1 << 20));
        if (bytes < size && size > m.limit - m.used) size = bytes;
        builder.charge(size);
        std::unique_ptr<std::byte[]> chunk(new (std::nothrow) std::byte[size]);
        if (!chunk) fail(Status::out_of_memory, "no memory for %llu bytes of a JSON tree", (unsigned long long)size);
        m.free = chunk.get();
        m.left = size;
        m.chunks.push_back(std::move(chunk));
    }
    std::byte* result = m.free + skip;
    m.free = result + bytes;
    m.left -= skip + bytes;
    return result;
}

}  // namespace

std::span<Json> JsonBuilder::children(Json& parent, Json::Kind kind, uint64_t count) {
    if (count >= uint32_t(1) << 31) fail(Status::limit, {file}, "more than 2^31 children in one array or object");
    uint64_t table = kind == Json::Kind::object ? table_size(count) : 0;
    std::byte* memory = allocate(*this, *document.memory, count * sizeof(Json) + table * sizeof(uint32_t), true);
    auto first = reinterpret_cast<Json*>(memory);
    std::uninitialized_value_construct_n(first, count);
    std::uninitialized_value_construct_n(reinterpret_cast<uint32_t*>(memory + count * sizeof(Json)), table);
    parent.kind = kind;
    parent.count = uint32_t(count);
    parent.children = first;
    return {first, size_t(count)};
}

std::string_view JsonBuilder::copy(std::string_view text) {
    if (text.size() > UINT32_MAX) fail(Status::limit, {file}, "a string of more than 2^32 bytes");
    if (text.empty()) return {"", 0};
    auto to = reinterpret_cast<char*>(allocate(*this, *document.memory, text.size(), false));
    std::memcpy(to, text.data(), text.size());
    return {to, text.size()};
}

void JsonBuilder::index(const Json& object) {
    auto duplicate = [&](std::string_view key) { fail(Status::duplicate, {file, key}, "this key occurs twice"); };
    auto children = object.items();
    if (!table_size(object.count)) {
        for (const Json& child : children)
            for (const Json* other = children.data(); other != &child; ++other)
                if (other->key == child.key) duplicate(child.key);
        return;
    }
    auto table = reinterpret_cast<uint32_t*>(const_cast<Json*>(object.children) + object.count);
    for (uint32_t i = 0; i < object.count; ++i) {
        uint32_t& slot = table[find_slot(object, table, children[i].key)];
        if (slot) duplicate(children[i].key);
        slot = i + 1;
    }
}

namespace {

namespace ondemand = simdjson::ondemand;

// Bytes that reading a text takes: simdjson's padded copy, four for each byte's possible token, 5/3 for strings; and
// ours for the longest string.
uint64_t work_bytes(uint64_t text) { return 8 * (text + 1024) + 16384; }

struct Reader {
    const ondemand::parser& parser;
    JsonBuilder& builder;
    std::string_view file;
    std::string_view text;  // simdjson's copy, after the bracket that we put before it
    int64_t offset;         // of the text in the file
    int depth;
    std::vector<uint8_t> string = {};  // the last one unescaped

    // Where simdjson stands; the end of the text where it stands nowhere.
    Place place(ondemand::document& document) const {
        const char* at = nullptr;
        if (document.current_location().get(at)) at = text.data() + text.size();
        return {file, {}, offset + std::clamp<int64_t>(at - text.data(), 0, int64_t(text.size()))};
    }

    [[noreturn]] void malformed(ondemand::document& document, simdjson::error_code error) {
        if (error == simdjson::MEMALLOC) fail(Status::out_of_memory, {file}, "no memory to read it");
        fail(Status::malformed, place(document), "%s", simdjson::error_message(error));
    }

    void check(ondemand::document& document, simdjson::error_code error) {
        if (error) malformed(document, error);
    }

    void read(ondemand::document& document, ondemand::value value, Json& out, int level) {
        ondemand::json_type type;
        check(document, value.type().get(type));
        switch (type) {
            case ondemand::json_type::array:
                return read_array(document, value, out, level);
            case ondemand::json_type::object:
                return read_object(document, value, out, level);
            case ondemand::json_type::number:
                return read_number(document, value, out);
            case ondemand::json_type::string: {
                ondemand::raw_json_string raw;
                check(document, value.get_raw_json_string().get(raw));
                return builder.string(out, unescape(document, raw));
            }
            case ondemand::json_type::boolean:
                check(document, value.get_bool().get(out.boolean));
                out.kind = Json::Kind::boolean;
                return;
            case ondemand::json_type::null: {
                bool null = false;
                check(document, value.is_null().get(null));
                if (!null) malformed(document, simdjson::N_ATOM_ERROR);
            }
        }
    }

    // Into memory of our own: simdjson 3.0.1 does not look whether it got any for its strings. Valid until the next.
    std::string_view unescape(ondemand::document& document, ondemand::raw_json_string raw) {
        const auto* begin = reinterpret_cast<const uint8_t*>(raw.raw());
        const auto* end = reinterpret_cast<const uint8_t*>(text.data() + text.size());
        const uint8_t* quote = begin;
        for (; quote < end && *quote != '"'; ++quote) quote += *quote == '\\';
        const size_t room = size_t(std::min(quote, end) - begin) + simdjson::SIMDJSON_PADDING;
        if (string.size() < room) string.resize(room);
        uint8_t* to = string.data();
        std::string_view result;
        check(document, parser.unescape(raw, to).get(result));
        return result;
    }

    void read_number(ondemand::document& document, ondemand::value& value, Json& out) {
        int64_t integer;
        out.kind = Json::Kind::integer;
        if (!value.get_int64().get(integer)) {
            out.integer = integer;
            return;
        }
        out.kind = Json::Kind::real;
        check(document, value.get_double().get(out.real));
    }

    // Counting first costs a walk over the tokens for each level, and saves a second home for the children.
    void read_array(ondemand::document& document, ondemand::value& value, Json& out, int level) {
        enter(document, level);
        ondemand::array array;
        size_t count, i = 0;
        check(document, value.get_array().get(array));
        check(document, array.count_elements().get(count));
        auto children = builder.children(out, Json::Kind::array, count);
        for (auto element : array) {
            ondemand::value child;
            check(document, std::move(element).get(child));
            if (i == count) malformed(document, simdjson::TAPE_ERROR);
            read(document, child, children[i++], level + 1);
        }
        if (i != count) malformed(document, simdjson::TAPE_ERROR);
    }

    void read_object(ondemand::document& document, ondemand::value& value, Json& out, int level) {
        enter(document, level);
        ondemand::object object;
        size_t count, i = 0;
        check(document, value.get_object().get(object));
        check(document, object.count_fields().get(count));
        auto children = builder.children(out, Json::Kind::object, count);
        for (auto member : object) {
            ondemand::field field;
            check(document, std::move(member).get(field));
            if (i == count) malformed(document, simdjson::TAPE_ERROR);
            children[i].key = builder.copy(unescape(document, field.key()));
            read(document, field.value(), children[i++], level + 1);
        }
        if (i != count) malformed(document, simdjson::TAPE_ERROR);
        builder.index(out);
    }

    void enter(ondemand::document& document, int level) {
        if (level < depth) return;
        fail(Status::limit, place(document), "nested deeper than %d levels", depth);
    }
};

int64_t invalid_utf8(std::string_view text) {
    size_t i = 0;
    while (i < text.size()) {
        uint8_t lead = uint8_t(text[i]);
        size_t length = lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
        if (!simdjson::validate_utf8(text.data() + i, std::min(length, text.size() - i))) break;
        i += length;
    }
    return int64_t(i);
}

}  // namespace

JsonDocument JsonDocument::parse(std::string_view text, std::string_view file, const JsonLimits& limits,
                                 int64_t offset) {
    constexpr uint64_t longest = 0xFFFFFFFF - 1024;  // simdjson counts in 32 bits
    if (text.size() > longest) fail(Status::limit, {file}, "more than 4 GiB of JSON");
    JsonBuilder builder(file, std::min<uint64_t>(limits.bytes, 17 * text.size() + (1 << 20)));
    builder.charge(work_bytes(text.size()));

    // In brackets of our own a scalar is an element like any other, and only one element may stand there.
    size_t size = text.size() + 2;
    std::unique_ptr<char[]> copy(new (std::nothrow) char[size + simdjson::SIMDJSON_PADDING]);
    if (!copy) fail(Status::out_of_memory, {file}, "no memory to read it");
    copy[0] = '[';
    std::copy(text.begin(), text.end(), copy.get() + 1);
    copy[size - 1] = ']';
    std::memset(copy.get() + size, ' ', simdjson::SIMDJSON_PADDING);

    ondemand::parser parser;
    ondemand::document document;
    Reader reader{parser, builder, file, {copy.get() + 1, text.size()}, offset, std::clamp(limits.depth, 1, 512)};
    auto error = parser.iterate(copy.get(), size, size + simdjson::SIMDJSON_PADDING).get(document);
    if (error == simdjson::UTF8_ERROR)
        fail(Status::malformed, {file, {}, offset + invalid_utf8(text)}, "%s", simdjson::error_message(error));
    if (error == simdjson::MEMALLOC) fail(Status::out_of_memory, {file}, "no memory to read it");
    if (error) fail(Status::malformed, {file, {}, offset}, "%s", simdjson::error_message(error));

    ondemand::array array;
    size_t values = 0;
    reader.check(document, document.get_array().get(array));
    for (auto element : array) {
        ondemand::value value;
        reader.check(document, std::move(element).get(value));
        if (values++) reader.malformed(document, simdjson::TRAILING_CONTENT);
        reader.read(document, value, builder.root(), 0);
    }
    if (!values) fail(Status::malformed, {file, {}, offset}, "no JSON value");
    const char* rest;
    if (document.current_location().get(rest) != simdjson::OUT_OF_BOUNDS)
        reader.malformed(document, simdjson::TRAILING_CONTENT);
    builder.discharge(work_bytes(text.size()));
    return builder.finish();
}

}  // namespace alia
