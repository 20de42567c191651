// Errors per thread, arguments, and structs that carry their size.
#include "capi/border.h"

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <new>

namespace alia::capi {
namespace {

static_assert(int(Status::ok) == ALIA_OK && int(Status::invalid_argument) == ALIA_INVALID_ARGUMENT &&
              int(Status::not_found) == ALIA_NOT_FOUND && int(Status::io) == ALIA_IO &&
              int(Status::truncated) == ALIA_TRUNCATED && int(Status::malformed) == ALIA_MALFORMED &&
              int(Status::duplicate) == ALIA_DUPLICATE && int(Status::overlap) == ALIA_OVERLAP &&
              int(Status::missing) == ALIA_MISSING && int(Status::shape) == ALIA_SHAPE &&
              int(Status::unsupported) == ALIA_UNSUPPORTED && int(Status::limit) == ALIA_LIMIT &&
              int(Status::out_of_memory) == ALIA_OUT_OF_MEMORY && int(Status::no_tokenizer) == ALIA_NO_TOKENIZER &&
              int(Status::context_full) == ALIA_CONTEXT_FULL &&
              int(Status::device_unavailable) == ALIA_DEVICE_UNAVAILABLE &&
              int(Status::device_lost) == ALIA_DEVICE_LOST && int(Status::bad_handle) == ALIA_BAD_HANDLE &&
              int(Status::busy) == ALIA_BUSY && int(Status::cancelled) == ALIA_CANCELLED &&
              int(Status::internal) == ALIA_INTERNAL);

// Constant-initialised, without a destructor: nothing runs when a thread or the program ends.
struct Failure {
    alia_status status = ALIA_OK;
    int32_t usable = 1;
    int64_t offset = -1;
    char item[sizeof Error::item] = "";
    char message[sizeof Error::message] = "";
};
constinit thread_local Failure failure;

void set_failure(Status status, const char* message) {
    failure.status = alia_status(status);
    failure.usable = status != Status::device_lost;
    failure.offset = -1;
    failure.item[0] = failure.message[0] = 0;
    detail::append_clean(failure.message, sizeof failure.message, message);
}

constexpr uint32_t largest_struct = 4096;  // a size beyond it was never set

}  // namespace

alia_status record_failure() noexcept {
    try {
        throw;
    } catch (const Error& e) {
        set_failure(e.status, e.message);
        failure.offset = e.offset;
        detail::append_clean(failure.item, sizeof failure.item, e.item);
    } catch (const std::bad_alloc&) {
        set_failure(Status::out_of_memory, "the system has no memory left for this");
    } catch (const std::exception& e) {
        set_failure(Status::internal, e.what());
    } catch (...) {
        set_failure(Status::internal, "an exception of a foreign type");
    }
    return failure.status;
}

void bad_argument(const char* name, const char* format, ...) {
    va_list arguments;
    va_start(arguments, format);
    detail::throw_error(Status::invalid_argument, Place{{}, name}, format, arguments);
}

void check_array(const void* array, uint64_t length, uint64_t element, const char* name) {
    if (!array && length > 0) bad_argument(name, "is NULL, but its length is not 0");
    if (length > uint64_t(PTRDIFF_MAX) / element) bad_argument(name, "is longer than memory can be");
}

std::string_view given_text(const char* text, uint64_t length, const char* name) {
    check_array(text, length, 1, name);
    return text ? std::string_view(text, length) : std::string_view();
}

std::string given_path(const char* path, uint64_t length, const char* name) {
    not_null(path, name);
    std::string_view text = given_text(path, length, name);
    if (text.empty()) bad_argument(name, "is empty");
    if (text.find('\0') != text.npos) bad_argument(name, "has a NUL inside");
    return std::string(text);
}

void check_range(int64_t value, int64_t low, int64_t high, const char* name) {
    if (value < low || value > high)
        bad_argument(name, "is %lld; it can be %lld to %lld", (long long)value, (long long)low, (long long)high);
}

uint32_t check_size(const void* given, const char* name) {
    uint32_t size;
    std::memcpy(&size, given, sizeof size);
    if (size == 0 || size % 8 != 0 || size > largest_struct)
        bad_argument(name, "has size %u, which no version has: set it up with its ..._INIT macro", size);
    return size;
}

void read_sized(const void* given, void* known, uint32_t known_size, const char* name) {
    const uint32_t size = check_size(given, name);
    const auto* bytes = static_cast<const std::byte*>(given);
    for (uint32_t i = known_size; i < size; ++i)
        if (bytes[i] != std::byte{0})
            fail(Status::unsupported, Place{{}, name},
                 "comes from a newer client: of its %u bytes this library knows %u, and byte %u is not zero", size,
                 known_size, i);
    std::memcpy(known, given, std::min(size, known_size));
    std::memcpy(known, &known_size, sizeof known_size);
}

void write_sized(void* given, uint32_t size, const void* known, uint32_t known_size) {
    auto* bytes = static_cast<std::byte*>(given);
    uint32_t shared = std::min(size, known_size);
    std::memcpy(bytes + sizeof size, static_cast<const std::byte*>(known) + sizeof size, shared - sizeof size);
    std::memset(bytes + shared, 0, size - shared);
}

void give_text(std::string_view text, char** out, uint64_t* length) {
    auto* copy = static_cast<char*>(std::malloc(text.size() + 1));
    if (!copy) throw std::bad_alloc();
    if (!text.empty()) std::memcpy(copy, text.data(), text.size());
    copy[text.size()] = 0;
    *out = copy;
    *length = text.size();
}

void give_ids(std::span<const int32_t> ids, int32_t** out, uint64_t* count) {
    auto* copy = static_cast<int32_t*>(std::malloc(ids.size_bytes() + 1));
    if (!copy) throw std::bad_alloc();
    std::copy(ids.begin(), ids.end(), copy);
    *out = copy;
    *count = ids.size();
}

void give_bytes(std::span<const std::byte> bytes, void** out, uint64_t* length) {
    auto* copy = static_cast<std::byte*>(std::malloc(bytes.size() + 1));
    if (!copy) throw std::bad_alloc();
    std::copy(bytes.begin(), bytes.end(), copy);
    *out = copy;
    *length = bytes.size();
}

}  // namespace alia::capi

using namespace alia::capi;

uint32_t alia_abi_version(void) { return ALIA_ABI_VERSION; }
const char* alia_version(void) { return ALIA_RELEASE; }

alia_status alia_abi_check(uint32_t abi) {
    return guard([&] {
        const uint32_t major = abi >> 16, minor = abi & 0xFFFF;
        if (major == ALIA_ABI_MAJOR && minor <= ALIA_ABI_MINOR) return;
        const bool old_library = abi > ALIA_ABI_VERSION;
        alia::fail(alia::Status::unsupported,
                   "the program was compiled for version %u.%u of libalia's interface and runs with %d.%d: %s", major,
                   minor, ALIA_ABI_MAJOR, ALIA_ABI_MINOR,
                   old_library ? "install a newer library" : "compile it again with this library's alia.h");
    });
}

alia_status alia_error_status(void) { return failure.status; }
const char* alia_error_message(void) { return failure.message; }
const char* alia_error_item(void) { return failure.item; }
int64_t alia_error_offset(void) { return failure.offset; }
int32_t alia_error_handle_usable(void) { return failure.usable; }

const char* alia_status_name(alia_status status) {
    static constexpr const char* names[] = {"ok",
                                            "invalid_argument",
                                            "not_found",
                                            "io",
                                            "truncated",
                                            "malformed",
                                            "duplicate",
                                            "overlap",
                                            "missing",
                                            "shape",
                                            "unsupported",
                                            "limit",
                                            "out_of_memory",
                                            "no_tokenizer",
                                            "context_full",
                                            "device_unavailable",
                                            "device_lost",
                                            "bad_handle",
                                            "busy",
                                            "cancelled",
                                            "internal"};
    return status >= 0 && status < int(std::size(names)) ? names[status] : "unknown";
}

void alia_text_free(char* text) { std::free(text); }
void alia_ids_free(int32_t* ids) { std::free(ids); }
void alia_bytes_free(void* bytes) { std::free(bytes); }
