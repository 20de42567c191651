// What every exported function does: catch, record, and read what the caller gives.
#pragma once
#include <cfenv>
#include <pthread.h>
#include <span>
#include <string>
#include <string_view>

#include "capi/alia.h"
#include "kernels/error.h"

namespace alia::capi {

// A thread that another one cancels ends its call first: the library cannot be left at any of its waits.
class Uncancelled {
  public:
    Uncancelled() { pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before); }
    ~Uncancelled() { pthread_setcancelstate(before, nullptr); }
    Uncancelled(const Uncancelled&) = delete;
    Uncancelled& operator=(const Uncancelled&) = delete;

  private:
    int before;
};

// A caller's thread may round otherwise or, as many do once code built with -ffast-math was loaded, take subnormal
// numbers for 0, which scales of quantised weights may be. Threads that a call starts inherit the usual mode from it.
class UsualFloats {
  public:
#if defined(__x86_64__)  // cfenv's functions take 290 ns, as they save the x87's registers too
    UsualFloats() : before(__builtin_ia32_stmxcsr()) {
        if (unusual()) __builtin_ia32_ldmxcsr(usual);
    }
    ~UsualFloats() {
        if (unusual()) __builtin_ia32_ldmxcsr(before);
    }

  private:
    static constexpr unsigned usual = 0x1F80, control = 0xFFC0;  // all but the flags of what has happened
    bool unusual() const { return (before & control) != usual; }
    unsigned before;
#else
    UsualFloats() { std::fegetenv(&before), std::fesetenv(FE_DFL_ENV); }
    ~UsualFloats() { std::fesetenv(&before); }

  private:
    std::fenv_t before;
#endif
    UsualFloats(const UsualFloats&) = delete;
    UsualFloats& operator=(const UsualFloats&) = delete;
};

// Records the exception in flight as the thread's failure. Called inside a catch.
alia_status record_failure() noexcept;
// The only catch of the library stands around every exported function that can fail.
template <class F>
alia_status guard(F&& f) noexcept {
    const Uncancelled call;
    const UsualFloats numbers;
    try {
        f();
        return ALIA_OK;
    } catch (...) {
        return record_failure();
    }
}

[[noreturn, gnu::format(printf, 2, 3)]] void bad_argument(const char* name, const char* format, ...);

template <class T>
T& not_null(T* pointer, const char* name) {
    if (!pointer) bad_argument(name, "is NULL");
    return *pointer;
}

// A caller's text or array of `length` elements.
std::string_view given_text(const char* text, uint64_t length, const char* name);
std::string given_path(const char* path, uint64_t length, const char* name);
void check_array(const void* array, uint64_t length, uint64_t element, const char* name);
void check_range(int64_t value, int64_t low, int64_t high, const char* name);

// Milliseconds, 34 years: a clock's nanoseconds have room for them.
constexpr int64_t longest_wait = int64_t(1) << 40;

// The size that a struct says it has; invalid_argument where no version can have it.
uint32_t check_size(const void* given, const char* name);
// Copies min(size, known_size) bytes of a sized struct over `known`. Errors as alia.h says.
void read_sized(const void* given, void* known, uint32_t known_size, const char* name);
// The struct as this library knows it, with `defaults` where the caller's is shorter or NULL.
template <class T>
T read_options(const T* given, T defaults, const char* name) {
    if (given) read_sized(given, &defaults, sizeof(T), name);
    return defaults;
}
// Writes min(size, known_size) bytes behind the size of a struct that the caller made, zeros beyond.
void write_sized(void* given, uint32_t size, const void* known, uint32_t known_size);

// Copies for the caller, freed with alia_text_free, alia_ids_free and alia_bytes_free.
void give_text(std::string_view text, char** out, uint64_t* length);
void give_ids(std::span<const int32_t> ids, int32_t** out, uint64_t* count);
void give_bytes(std::span<const std::byte> bytes, void** out, uint64_t* length);

}  // namespace alia::capi
