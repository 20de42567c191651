/* What the program that tests/calls.py writes draws its arguments with. An argument is right or wrong: how often it is
 * wrong is drawn anew for each call. What is handed in lies in blocks of its exact size without a terminator, so that a
 * sanitizer sees a byte read too many. */
#pragma once
#include <math.h>
#include <stdarg.h>

#include "tests/capi.h"

#if defined(__SANITIZE_ADDRESS__)
enum { sanitized = 1 };
#else
enum { sanitized = 0 };
#endif

/* ---- Chance ---- */

static uint64_t state;
static uint64_t chance(void) { /* splitmix64 */
    uint64_t z = state += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}
static uint64_t below(uint64_t n) { return chance() % n; }
static unsigned wrongness; /* of 100 arguments, and of 400 fields */
static int wrong(void) { return below(100) < wrongness; }
static int wrong_field(void) { return below(400) < wrongness; }
#define ONE_OF(list) list[below(sizeof list / sizeof *list)]

/* ---- The call at hand ---- */

static const char* function;
static long call_number;
static char described[8192]; /* its arguments */
static int must_fail;        /* one of them allows no success */
static void* blocks[512];    /* memory of the call */
static unsigned block_count;
static size_t block_size; /* of the last one */
static struct {
    void *at, *before;
    size_t size;
} outs[16]; /* what a failure leaves as it was */
static unsigned out_count;

static void note(const char* format, ...) {
    const size_t at = strlen(described);
    va_list rest;
    va_start(rest, format);
    vsnprintf(described + at, sizeof described - at, format, rest);
    va_end(rest);
}
static void note_bytes(const void* bytes, uint64_t n) {
    const unsigned char* b = bytes;
    for (uint64_t i = 0; i < n && i < 24; ++i) note(b[i] < 32 || b[i] > 126 ? "\\x%02x" : "%c", b[i]);
    if (n > 24) note("... %llu bytes", (unsigned long long)n);
}
static void expect(int good, const char* what) {
    if (good) return;
    fprintf(stderr, "call %ld, %s(%s): %s; last error: %s, %s\n", call_number, function, described, what,
            alia_status_name(alia_error_status()), alia_error_message());
    if (++failures > 20) _Exit(1);
}

static void* block(size_t n) {
    void* p = malloc(n);
    if ((n && !p) || block_count == sizeof blocks / sizeof *blocks) _Exit(2);
    block_size = n;
    return blocks[block_count++] = p;
}
static void* copied(const void* bytes, size_t n) {
    void* p = block(n);
    if (n) memcpy(p, bytes, n);
    return p;
}
static void* watched(void* at, size_t size) {
    outs[out_count].at = at, outs[out_count].size = size, outs[out_count++].before = copied(at, size);
    return at;
}

/* ---- Numbers ---- */

static int64_t number(const char* name, int64_t right, int is_wrong, int64_t low, int64_t high) {
    const int64_t odd[] = {
        0, 1, -1, 2, 3, -2, 7, 64, 255, 1 << 20, (int64_t)1 << 40, low, low + 1, high, high - 1, (int64_t)chance()};
    const int64_t value = is_wrong ? ONE_OF(odd) : right;
    note(" %s=%lld", name, (long long)value);
    return value;
}
static int32_t an_int32_t(const char* name, int64_t right, int is_wrong) {
    return (int32_t)number(name, right, is_wrong, INT32_MIN, INT32_MAX);
}
static uint32_t an_uint32_t(const char* name, int64_t right, int is_wrong) {
    return (uint32_t)number(name, right, is_wrong, INT32_MIN, UINT32_MAX);
}
static int64_t an_int64_t(const char* name, int64_t right, int is_wrong) {
    return number(name, right, is_wrong, INT64_MIN, INT64_MAX);
}
static uint64_t an_uint64_t(const char* name, int64_t right, int is_wrong) {
    return (uint64_t)number(name, right, is_wrong, INT64_MIN, INT64_MAX);
}
static double a_double(const char* name, double right, int is_wrong) {
    const double odd[] = {0,
                          -0.0,
                          1,
                          -1,
                          -2,
                          0.5,
                          1e-300,
                          -1e-300,
                          1e300,
                          1e-320,
                          -1e300,
                          (double)NAN,
                          -(double)NAN,
                          (double)INFINITY,
                          -(double)INFINITY,
                          2};
    const double value = is_wrong ? ONE_OF(odd) : right;
    note(" %s=%g", name, value);
    return value;
}
/* How long a call may wait: nothing else would end a long one. */
static int64_t a_wait(const char* name) {
    const int64_t odd[] = {1, -2, INT64_MIN, INT64_MAX, ((int64_t)1 << 40) + 1};
    const int64_t value = wrong() ? ONE_OF(odd) : 0;
    note(" %s=%lld", name, (long long)value);
    must_fail |= value < -1 || value > (int64_t)1 << 40;
    return value;
}

/* ---- Texts and arrays ---- */

/* NULL or bytes, and their length, which is a lie only where that is told apart. */
typedef struct {
    const void* at;
    uint64_t count;
} array;

static array no_such_array(const void* bytes, size_t n, int is_argument) {
    const uint64_t lengths[] = {1, 7, INT64_MAX, UINT64_MAX};
    array a = {NULL, ONE_OF(lengths)};
    if (below(2)) a = (array){copied(bytes, n), below(2) ? UINT64_MAX : (uint64_t)INT64_MAX + 1};
    must_fail |= is_argument;
    return a;
}

static array a_text(const char* name, const char* right, int is_wrong, int is_argument) {
    static const char* const texts[] = {"model",
                                        "state",
                                        "none",
                                        "cpu",
                                        "ref",
                                        "threads",
                                        "top_p",
                                        "Q8_0",
                                        "a",
                                        "-1",
                                        "nan",
                                        "1e999",
                                        "99999999999999999999",
                                        "./",
                                        "..",
                                        " ",
                                        ""};
    char odd[5000];
    size_t n = strlen(right);
    array a;
    if (!is_wrong) {
        a = (array){copied(right, n), n};
    } else {
        const char* other = ONE_OF(texts);
        switch (below(6)) {
            case 0:
                a = (array){below(2) ? NULL : copied(right, n), 0};
                break;
            case 1:
                a = no_such_array(right, n, is_argument);
                break;
            case 2: /* not UTF-8, and in no other folder */
                n = 1 + below(below(8) ? 20 : sizeof odd - 1);
                for (size_t i = 0; i < n; ++i) odd[i] = (char)(128 + below(128));
                a = (array){copied(odd, n), n};
                break;
            case 3: /* a NUL inside */
                snprintf(odd, sizeof odd, "%s", right);
                odd[below(n + 1)] = 0;
                a = (array){copied(odd, n + 1), n + 1};
                break;
            case 4: /* cut */
                n = below(n + 1);
                a = (array){copied(right, n), n};
                break;
            default:
                a = (array){copied(other, strlen(other)), strlen(other)};
        }
    }
    note(" %s=%s", name, a.at ? "\"" : "NULL");
    if (a.at && a.count < sizeof odd) note_bytes(a.at, a.count);
    note(a.at ? "\"[%llu]" : "[%llu]", (unsigned long long)a.count);
    return a;
}

typedef enum { type_void = 1, type_float = 4, type_int32_t = 5, type_uint64_t = 8 } type;
static size_t size_of(type t) { return t == type_int32_t ? 4 : (size_t)t; }

/* [n] elements, of which some are wrong. */
static void* some_elements(const char* name, size_t n, type t) {
    static const int32_t i32[] = {-1, 16, 255, 256, INT32_MIN, INT32_MAX, 1 << 20};
    static const uint64_t u64[] = {0, 1, 2, INT64_MAX, UINT64_MAX, (uint64_t)1 << 63};
    static const float f32[] = {0, 1, -1, NAN, INFINITY, -INFINITY, 1e38f, -1e38f, 1e-45f};
    char* bytes = block(n * size_of(t));
    for (size_t i = 0; i < n; ++i) {
        const int32_t id = below(8) ? (int32_t)below(16) : ONE_OF(i32);
        const uint64_t large = ONE_OF(u64);
        const float real = ONE_OF(f32);
        const char byte = (char)chance();
        memcpy(bytes + i * size_of(t),
               t == type_int32_t    ? (const void*)&id
               : t == type_uint64_t ? (const void*)&large
               : t == type_float    ? (const void*)&real
                                    : (const void*)&byte,
               size_of(t));
    }
    note(" %s[%zu]", name, n);
    return bytes;
}

/* `right` has [n] elements; a wrong array may be longer. */
static array an_array(const char* name, const void* right, size_t n, type t, int is_wrong, int is_argument) {
    array a = {NULL, 0};
    if (is_wrong) {
        switch (below(4)) {
            case 0:
                if (below(2)) a.at = copied(right, n * size_of(t));
                break;
            case 1:
                a = no_such_array(right, n * size_of(t), is_argument);
                break;
            default:
                a.count = below(4) ? 1 + below(9) : below(100);
                a.at = some_elements(name, a.count, t);
        }
    } else {
        a = (array){copied(right, n * size_of(t)), n};
    }
    note(" %s=%s[%llu]", name, a.at ? "" : "NULL", (unsigned long long)a.count);
    return a;
}

static uint64_t some_texts(const char* const** texts, const uint64_t** lengths) {
    const uint64_t n = below(8) ? 1 + below(4) : 65 + below(3);
    const char** at = block(n * sizeof *at);
    uint64_t* length = block(n * sizeof *length);
    for (uint64_t i = 0; i < n; ++i) {
        const array a = a_text("stop", "la", below(2), 0);
        at[i] = a.at, length[i] = a.count;
    }
    *texts = below(8) ? at : NULL, *lengths = below(8) ? length : NULL;
    return below(8) ? n : 0;
}

/* ---- Structs ---- */

/* The struct as clients of several versions and of none would hand it over. */
static void* a_struct(const char* name, const void* known, uint32_t known_size) {
    static const uint32_t none[] = {0, 4, 12, 20, 4100, 4104, UINT32_MAX};
    uint32_t size = known_size;
    char* at;
    if (!wrong()) {
        at = copied(known, size);
    } else if (below(4) == 0) {
        note(" %s=NULL", name);
        return NULL;
    } else if (below(3) == 0) {
        size = ONE_OF(none);
        at = copied(known, size < 4 ? 4 : size < known_size ? size : known_size);
        must_fail = 1;
    } else if (below(2)) {
        size = 8 * (1 + (uint32_t)below(known_size / 8));
        at = copied(known, size);
    } else {
        size = below(4) ? known_size + 8 * (1 + (uint32_t)below(4)) : 4096;
        at = block(size);
        memcpy(at, known, known_size);
        memset(at + known_size, 0, size - known_size);
        if (below(2)) at[known_size + below(size - known_size)] = 1, must_fail = 1;
    }
    memcpy(at, &size, sizeof size);
    note(" %s.size=%u", name, size);
    return at;
}

/* [n] structs one behind the other, all of the first's size or, wrongly, not. */
static array structs(const char* name, const void* known, size_t n, uint32_t known_size) {
    uint32_t size = known_size;
    if (wrong()) {
        if (below(4) == 0) {
            array a = no_such_array(known, known_size, 1);
            note(" %s=%s[%llu]", name, a.at ? "" : "NULL", (unsigned long long)a.count);
            return a;
        }
        size = below(2) ? known_size + 8 : 8 * (1 + (uint32_t)below(known_size / 8));
    }
    char* at = block(n * size);
    memset(at, 0, n * size);
    for (size_t i = 0; i < n; ++i) {
        memcpy(at + i * size, (const char*)known + i * known_size, size < known_size ? size : known_size);
        memcpy(at + i * size, &size, sizeof size);
    }
    if (n && wrong()) {
        static const uint32_t none[] = {0, 4, 4104, UINT32_MAX};
        memcpy(at + (n - 1) * size, &ONE_OF(none), sizeof size), must_fail = 1;
    }
    note(" %s=[%zu] of size %u", name, n, size);
    return (array){at, n};
}

static alia_event* some_events(uint32_t* capacity) {
    alia_event event = ALIA_EVENT_INIT;
    const uint32_t sizes[] = {sizeof event, sizeof event + 16, 8, 24, 64};
    uint32_t size = wrong() ? ONE_OF(sizes) : sizes[0];
    if (wrong() && below(2)) {
        *capacity = below(2) ? 1 : UINT32_MAX, must_fail = 1;
        note(" events=NULL[%u]", *capacity);
        return NULL;
    }
    const uint32_t n = 1 + (uint32_t)below(6);
    char* at = block(n * size);
    memset(at, 0xA5, n * size);
    for (uint32_t i = 0; i < n; ++i) memcpy(at + i * size, &size, sizeof size);
    if (wrong() && below(2)) size = 4, memcpy(at, &size, sizeof size), must_fail = 1;
    *capacity = wrong() && below(4) == 0 ? 0 : n;
    must_fail |= *capacity == 0;
    note(" events.size=%u[%u]", size, *capacity);
    return watched(at, n * (size == 4 ? 8 : size));
}

static void* an_out(const char* name, size_t size, int never) {
    if (never || (wrong() && below(3) == 0)) {
        note(" %s=NULL", name), must_fail = 1;
        return NULL;
    }
    return watched(memset(block(size), 0xA5, size), size);
}

/* ---- Callbacks ---- */

static int32_t go_on(void* user, const alia_progress* p) {
    (void)user;
    return p->size != sizeof *p;
}
static int32_t stop_now(void* user, const alia_progress* p) {
    (void)user, (void)p;
    return -1;
}
static alia_progress_callback a_progress(int is_wrong) {
    alia_progress_callback const all[] = {NULL, go_on, stop_now};
    return is_wrong ? ONE_OF(all) : NULL;
}

enum { file_count = 5 };
static const char* const file_names[] = {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json",
                                         "chat_template.jinja"};
static char* contents[file_count];
static uint64_t sizes[file_count];
static int find_file(const char* name, uint64_t length) {
    for (int i = 0; i < file_count; ++i)
        if (strlen(file_names[i]) == length && memcmp(file_names[i], name, length) == 0) return i;
    return -1;
}
static int64_t file_size(void* user, const char* name, uint64_t length) {
    const int i = find_file(name, length);
    (void)user;
    return i < 0 ? -1 : (int64_t)sizes[i];
}
static int64_t odd_file_size(void* user, const char* name, uint64_t length) {
    const int64_t odd[] = {-1, INT64_MIN, 0, 1, 7, 700000, INT64_MAX, (int64_t)1 << 62};
    const int64_t size = ONE_OF(odd);
    (void)user, (void)name, (void)length;
    return sanitized && size > 1 << 20 ? 1 << 20 : size; /* its operator new does not throw */
}
static int32_t read_file(void* user, const char* name, uint64_t length, int64_t offset, void* to, uint64_t bytes) {
    const int i = find_file(name, length);
    (void)user;
    if (i < 0 || (uint64_t)offset + bytes > sizes[i]) return 1;
    memcpy(to, contents[i] + offset, bytes);
    return 0;
}
static int32_t odd_read(void* user, const char* name, uint64_t length, int64_t offset, void* to, uint64_t bytes) {
    (void)user, (void)name, (void)length, (void)offset;
    memset(to, (int)chance(), bytes);
    return below(2) ? 0 : INT32_MIN;
}
