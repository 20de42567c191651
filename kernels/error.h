// The one error type: thrown by every layer, caught only at the C border.
#pragma once
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <exception>
#include <string_view>

namespace alia {

// The numbers are those of alia_status in capi/alia.h and never change.
enum class Status : int32_t {
    ok = 0,
    invalid_argument = 1,  // an argument of the caller
    not_found = 2,         // no such file, tensor, token or option
    io = 3,                // the system failed to open, map or read
    truncated = 4,         // a file ends before what it announces
    malformed = 5,         // bytes that break their format's rules
    duplicate = 6,         // one name twice
    overlap = 7,           // two tensors share bytes
    missing = 8,           // a tensor, key or shard that the model needs is absent
    shape = 9,             // a tensor's shape contradicts the configuration
    unsupported = 10,      // well formed, but not something libalia runs
    limit = 11,            // beyond a stated limit
    out_of_memory = 12,
    no_tokenizer = 13,        // the checkpoint came without one
    context_full = 14,        // more tokens than the cache has positions
    device_unavailable = 15,  // no such device, or this build lacks it
    device_lost = 16,
    bad_handle = 17,
    busy = 18,
    cancelled = 19,  // by the caller
    internal = 20,   // a defect of libalia
};

// Where in the input: any part may be empty.
struct Place {
    std::string_view file;
    std::string_view item = {};  // tensor, metadata key, JSON pointer, argument
    int64_t offset = -1;         // byte in the file or text
};

// Fixed buffers: making an error allocates nothing.
struct Error : std::exception {
    Status status;
    int64_t offset = -1;
    char item[128] = "";
    char message[512] = "";

    const char* what() const noexcept override { return message; }
};

namespace detail {

// The bytes of the UTF-8 sequence that begins at text[0], or 0 where none does.
inline size_t utf8_sequence(std::string_view text) {
    const auto at = [&](size_t i) { return i < text.size() ? uint8_t(text[i]) : uint8_t(0); };
    const uint8_t lead = at(0), next = at(1);
    const size_t n = lead < 0x80 ? 1 : lead < 0xC2 ? 0 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : lead < 0xF5 ? 4 : 0;
    for (size_t i = 1; i < n; ++i)
        if ((at(i) & 0xC0) != 0x80) return 0;
    const bool overlong = (lead == 0xE0 && next < 0xA0) || (lead == 0xF0 && next < 0x90);
    const bool no_character = (lead == 0xED && next > 0x9F) || (lead == 0xF4 && next > 0x8F);
    return overlong || no_character ? 0 : n;
}

// Appends what there is room for, as UTF-8: control characters and bytes that are none become '?', and no sequence is
// cut in two.
inline void append_clean(char* buffer, size_t size, std::string_view text) {
    size_t at = std::strlen(buffer);
    while (!text.empty()) {
        const size_t n = utf8_sequence(text), taken = n ? n : 1;
        if (at + taken >= size) break;
        std::memcpy(buffer + at, text.data(), taken);
        if (n == 0 || uint8_t(text[0]) < 32 || text[0] == 127) buffer[at] = '?';
        at += taken;
        text.remove_prefix(taken);
    }
    buffer[at] = 0;
}

[[noreturn]] inline void throw_error(Status status, const Place& place, const char* format, va_list arguments) {
    Error e;
    e.status = status;
    e.offset = place.offset;
    char part[400];
    append_clean(e.item, sizeof e.item, place.item);
    if (place.file.size() > 196) {  // a path's end says more than its start
        append_clean(e.message, sizeof e.message, "...");
        std::string_view end = place.file.substr(place.file.size() - 190);
        while ((uint8_t(end[0]) & 0xC0) == 0x80 && end.size() > 1) end.remove_prefix(1);
        append_clean(e.message, sizeof e.message, end);
    } else {
        append_clean(e.message, sizeof e.message, place.file);
    }
    if (!place.item.empty()) {
        if (e.message[0]) append_clean(e.message, sizeof e.message, ", ");
        append_clean(e.message, sizeof e.message, e.item);
    }
    if (place.offset >= 0) {
        std::snprintf(part, sizeof part, "%sbyte %lld", e.message[0] ? ", " : "", (long long)place.offset);
        append_clean(e.message, sizeof e.message, part);
    }
    if (e.message[0]) append_clean(e.message, sizeof e.message, ": ");
    const int length = std::vsnprintf(part, sizeof part, format, arguments);
    va_end(arguments);
    if (length >= int(sizeof part)) {  // cut: perhaps inside a character
        size_t n = sizeof part - 1;
        while (n > 0 && (uint8_t(part[n - 1]) & 0xC0) == 0x80) --n;
        if (n > 0 && (uint8_t(part[n - 1]) & 0xC0) == 0xC0) --n;
        part[n] = 0;
    }
    append_clean(e.message, sizeof e.message, part);
    throw e;
}

}  // namespace detail

[[noreturn, gnu::format(printf, 2, 3)]] inline void fail(Status status, const char* format, ...) {
    va_list arguments;
    va_start(arguments, format);
    detail::throw_error(status, {}, format, arguments);
}

// The message starts with the place: "FILE, ITEM, byte N: ...".
[[noreturn, gnu::format(printf, 3, 4)]] inline void fail(Status status, const Place& place, const char* format, ...) {
    va_list arguments;
    va_start(arguments, format);
    detail::throw_error(status, place, format, arguments);
}

}  // namespace alia
