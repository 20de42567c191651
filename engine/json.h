// Reading JSON of any size from hostile sources into a small tree.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "kernels/error.h"

namespace alia {

// A value of a document, valid while the document lives. Integers beyond 64 bits become reals.
struct Json {
    enum class Kind : uint8_t { null, boolean, integer, real, string, array, object };

    Kind kind = Kind::null;
    uint32_t count = 0;    // children of an array or object, bytes of a string
    std::string_view key;  // this value's name in its object
    union {
        bool boolean;
        int64_t integer = 0;
        double real;
        const Json* children;  // [count], in the order of the text
        const char* text;      // of a string
    };

    std::string_view string() const {
        return kind == Kind::string ? std::string_view{text, count} : std::string_view{};
    }
    std::span<const Json> items() const {
        return kind == Kind::array || kind == Kind::object ? std::span{children, count} : std::span<const Json>{};
    }
    bool is(Kind k) const { return kind == k; }
    bool number() const { return kind == Kind::integer || kind == Kind::real; }
    double as_real() const { return kind == Kind::integer ? double(integer) : kind == Kind::real ? real : 0; }
    // The member of that name, or null (also where this is no object or the member's value is JSON's null). Constant
    // time.
    const Json* find(std::string_view name) const;
};
static_assert(sizeof(Json) == 32);

struct JsonLimits {
    int depth = 64;
    uint64_t bytes = uint64_t(1) << 30;  // memory that reading may take, whatever the text's size
};

class JsonDocument {
  public:
    JsonDocument() = default;
    // `file` names the text in errors: malformed (with the byte), duplicate (a key twice), limit. Neither the tree nor
    // the work of making it takes more than 17 times the text plus 1 MiB: the work takes 8, so denser text than four
    // bytes a value may exceed the limit. The text, which starts at byte `offset` of the file, may be freed afterwards.
    static JsonDocument parse(std::string_view text, std::string_view file, const JsonLimits& = {}, int64_t offset = 0);

    const Json& root() const;

    struct Memory;

  private:
    friend class JsonBuilder;
    std::shared_ptr<Memory> memory;
};

// Makes a document of whatever a format holds, values before their children.
class JsonBuilder {
  public:
    // `file` names the source in errors and outlives the builder; `bytes` is all that the tree may take.
    JsonBuilder(std::string_view file, uint64_t bytes);

    Json& root();
    // Makes `parent` an array or object of so many nulls.
    std::span<Json> children(Json& parent, Json::Kind, uint64_t count);
    void string(Json& value, std::string_view text) {
        std::string_view kept = copy(text);
        value.kind = Json::Kind::string;
        value.count = uint32_t(kept.size());
        value.text = kept.data();
    }
    std::string_view copy(std::string_view text);
    // Once every key of an object is set: refuses duplicates and lets find() work.
    void index(const Json& object);
    // Counts memory that someone else takes for the tree's sake.
    void charge(uint64_t bytes);
    void discharge(uint64_t bytes);

    JsonDocument finish() { return std::move(document); }

  private:
    std::string_view file;
    JsonDocument document;
};

}  // namespace alia
