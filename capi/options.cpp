// Options by name.
#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstring>
#include <numeric>
#include <span>
#include <utility>
#include <vector>

#include "capi/border.h"

namespace alia::capi {
namespace {

enum class Type { i32, u32, i64, u64, real };
struct Field {
    std::string_view name;
    size_t offset;
    Type type;
};
template <class T>
constexpr Type type_of() {
    if constexpr (std::is_same_v<T, int32_t>) return Type::i32;
    if constexpr (std::is_same_v<T, uint32_t>) return Type::u32;
    if constexpr (std::is_same_v<T, int64_t>) return Type::i64;
    if constexpr (std::is_same_v<T, uint64_t>) return Type::u64;
    if constexpr (std::is_same_v<T, double>) return Type::real;
}
using M = alia_model_options;
using E = alia_engine_options;
using R = alia_request_options;
std::span<const Field> fields(const M&) {
    static constexpr Field all[] = {
        {"load", offsetof(M, load), type_of<decltype(M::load)>()},
        {"threads", offsetof(M, threads), type_of<decltype(M::threads)>()},
        {"flags", offsetof(M, flags), type_of<decltype(M::flags)>()},
        {"json_bytes", offsetof(M, json_bytes), type_of<decltype(M::json_bytes)>()},
    };
    return all;
}
std::span<const Field> fields(const E&) {
    static constexpr Field all[] = {
        {"cache", offsetof(E, cache), type_of<decltype(E::cache)>()},
        {"context", offsetof(E, context), type_of<decltype(E::context)>()},
        {"chunk", offsetof(E, chunk), type_of<decltype(E::chunk)>()},
        {"logit_rows", offsetof(E, logit_rows), type_of<decltype(E::logit_rows)>()},
        {"threads", offsetof(E, threads), type_of<decltype(E::threads)>()},
        {"sequences", offsetof(E, sequences), type_of<decltype(E::sequences)>()},
        {"positions", offsetof(E, positions), type_of<decltype(E::positions)>()},
        {"queue", offsetof(E, queue), type_of<decltype(E::queue)>()},
    };
    return all;
}
std::span<const Field> fields(const R&) {
    static constexpr Field all[] = {
        {"flags", offsetof(R, flags), type_of<decltype(R::flags)>()},
        {"max_tokens", offsetof(R, max_tokens), type_of<decltype(R::max_tokens)>()},
        {"temperature", offsetof(R, temperature), type_of<decltype(R::temperature)>()},
        {"top_p", offsetof(R, top_p), type_of<decltype(R::top_p)>()},
        {"min_p", offsetof(R, min_p), type_of<decltype(R::min_p)>()},
        {"repetition_penalty", offsetof(R, repetition_penalty), type_of<decltype(R::repetition_penalty)>()},
        {"frequency_penalty", offsetof(R, frequency_penalty), type_of<decltype(R::frequency_penalty)>()},
        {"presence_penalty", offsetof(R, presence_penalty), type_of<decltype(R::presence_penalty)>()},
        {"top_k", offsetof(R, top_k), type_of<decltype(R::top_k)>()},
        {"seed", offsetof(R, seed), type_of<decltype(R::seed)>()},
        {"min_tokens", offsetof(R, min_tokens), type_of<decltype(R::min_tokens)>()},
        {"completions", offsetof(R, completions), type_of<decltype(R::completions)>()},
        {"priority", offsetof(R, priority), type_of<decltype(R::priority)>()},
        {"top_tokens", offsetof(R, top_tokens), type_of<decltype(R::top_tokens)>()},
        {"pooling", offsetof(R, pooling), type_of<decltype(R::pooling)>()},
        {"deadline", offsetof(R, deadline), type_of<decltype(R::deadline)>()},
        {"context_first", offsetof(R, context_first), type_of<decltype(R::context_first)>()},
        {"context_last", offsetof(R, context_last), type_of<decltype(R::context_last)>()},
        {"sequence", offsetof(R, sequence), type_of<decltype(R::sequence)>()},
    };
    return all;
}

// Insertions, deletions and exchanges from a to b.
size_t edits(std::string_view a, std::string_view b) {
    std::vector<size_t> row(b.size() + 1);
    std::iota(row.begin(), row.end(), size_t(0));
    for (size_t i = 1; i <= a.size(); ++i) {
        size_t corner = std::exchange(row[0], i);
        for (size_t j = 1; j <= b.size(); ++j) {
            const size_t above = row[j];
            row[j] = std::min({above + 1, row[j - 1] + 1, corner + (a[i - 1] != b[j - 1])});
            corner = above;
        }
    }
    return row[b.size()];
}

template <class T>
void put(std::byte* at, std::string_view value, const char* name) {
    T number{};
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
    if (error != std::errc() || end != value.data() + value.size())
        bad_argument("value", "\"%.*s\" is no number that %s can have", int(std::min<size_t>(value.size(), 100)),
                     value.data(), name);
    std::memcpy(at, &number, sizeof number);
}

template <class S>
void set(S* options, const char* name, uint64_t name_length, const char* value, uint64_t value_length) {
    S known_part;
    read_sized(&not_null(options, "options"), &known_part, sizeof known_part, "options");
    const uint32_t size = check_size(options, "options");
    const std::string_view wanted = given_text(name, name_length, "name").substr(0, 100);
    const std::string_view text = given_text(value, value_length, "value");
    const auto all = fields(*options);
    const auto found = std::find_if(all.begin(), all.end(), [&](const Field& f) { return f.name == wanted; });
    if (found == all.end()) {
        const Field& near = *std::min_element(all.begin(), all.end(), [&](const Field& a, const Field& b) {
            return edits(a.name, wanted) < edits(b.name, wanted);
        });
        fail(Status::not_found, Place{{}, "name"}, "there is no option \"%.*s\"; did you mean \"%.*s\"?",
             int(wanted.size()), wanted.data(), int(near.name.size()), near.name.data());
    }
    const std::string known(found->name);
    if (found->offset >= size)
        fail(Status::unsupported, Place{{}, "options"}, "is of an older client and has no %s", known.c_str());
    auto* at = reinterpret_cast<std::byte*>(options) + found->offset;
    switch (found->type) {
        case Type::i32:
            return put<int32_t>(at, text, known.c_str());
        case Type::u32:
            return put<uint32_t>(at, text, known.c_str());
        case Type::i64:
            return put<int64_t>(at, text, known.c_str());
        case Type::u64:
            return put<uint64_t>(at, text, known.c_str());
        case Type::real:
            return put<double>(at, text, known.c_str());
    }
}

}  // namespace
}  // namespace alia::capi

using namespace alia::capi;

alia_status alia_model_options_set(alia_model_options* options, const char* name, uint64_t name_length,
                                   const char* value, uint64_t value_length) {
    return guard([&] { set(options, name, name_length, value, value_length); });
}
alia_status alia_engine_options_set(alia_engine_options* options, const char* name, uint64_t name_length,
                                    const char* value, uint64_t value_length) {
    return guard([&] { set(options, name, name_length, value, value_length); });
}
alia_status alia_request_options_set(alia_request_options* options, const char* name, uint64_t name_length,
                                     const char* value, uint64_t value_length) {
    return guard([&] { set(options, name, name_length, value, value_length); });
}
