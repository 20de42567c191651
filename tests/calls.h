/* What the program that tests/calls.py writes calls on, and how it checks each call. */
#pragma once
#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/calls_draw.h"
#include "tests/tiny_tokenizer.h"

/* ---- Handles and numbers that the library gave ---- */

static alia_model *plain_model, *text_model, *headers_model;
static alia_engine* engines[2];
static uintptr_t ended[16];
static unsigned ended_count;
static struct { uint64_t ended, last; } requests[2], sequences[2]; /* numbers of each engine's */
static int engine_at;                                              /* of the engine drawn last */
static array saved;                                                /* a sequence's bytes */
static float* flat_logits;
static size_t logit_count;

static void request_given(uint64_t number) { requests[engine_at].last = number; }
static void sequence_given(uint64_t number) { sequences[engine_at].last = number; }
static uint64_t recent(uint64_t last) {
    const uint64_t back = below(4);
    return last > back ? last - back : last;
}
static uint64_t a_request(void) { return recent(requests[engine_at].last); }
static uint64_t a_sequence(void) { return recent(sequences[engine_at].last); }
static void has_ended(const void* handle) { ended[ended_count++ % 16] = (uintptr_t)handle; }

static uintptr_t no_handle(uintptr_t right, uintptr_t other_kind) {
    const uintptr_t odd[] = {0,
                             1,
                             UINTPTR_MAX,
                             4096,
                             chance(),
                             right ^ 1,
                             right + ((uintptr_t)1 << 12),
                             other_kind,
                             ONE_OF(ended),
                             ONE_OF(ended),
                             right ^ (uintptr_t)1 << 60};
    uintptr_t h = ONE_OF(odd);
    while (h == right || h == (uintptr_t)engines[0] || h == (uintptr_t)engines[1] || h == (uintptr_t)text_model ||
           h == (uintptr_t)plain_model || h == (uintptr_t)headers_model)
        h = h == other_kind ? 0 : h + 1;
    if (other_kind && below(8) == 0) h = other_kind;
    return h;
}
static alia_model* fresh_model(void) {
    alia_model_options o = ALIA_MODEL_OPTIONS_INIT;
    alia_model* m = NULL;
    o.load = ALIA_LOAD_HEADERS;
    CHECK(alia_model_open("model", 5, &o, &m) == ALIA_OK);
    return m;
}
static alia_engine* fresh_engine(void) { return open_engine(text_model, 8); }

static alia_model* a_model(int to_free) {
    alia_model* const models[] = {text_model, text_model, text_model, plain_model, headers_model};
    alia_model* m = ONE_OF(models);
    if (wrong()) {
        m = (alia_model*)no_handle((uintptr_t)m, (uintptr_t)engines[0]);
        must_fail |= m || !to_free;
    } else if (to_free) {
        has_ended(m = fresh_model());
    }
    note(" model=%p", (void*)m);
    return m;
}
static alia_engine* an_engine(int to_free) {
    alia_engine* e = engines[engine_at = (int)below(2)];
    if (wrong()) {
        e = (alia_engine*)no_handle((uintptr_t)e, (uintptr_t)text_model);
        must_fail |= e || !to_free;
    } else if (to_free) {
        has_ended(e = fresh_engine());
    }
    note(" engine=%p", (void*)e);
    return e;
}

/* ---- Checks ---- */

static int is_utf8(const char* text) {
    const unsigned char* b = (const unsigned char*)text;
    while (*b) {
        const int more = *b < 0x80             ? 0
                         : (*b & 0xE0) == 0xC0 ? 1
                         : (*b & 0xF0) == 0xE0 ? 2
                         : (*b & 0xF8) == 0xF0 ? 3
                                               : -1;
        if (more < 0) return 0;
        for (int i = 1; i <= more; ++i)
            if ((b[i] & 0xC0) != 0x80) return 0;
        b += more + 1;
    }
    return 1;
}

typedef struct {
    const char* name;
    int can_fail, may_always_fail;
    long calls, good;
} count;

static void begin(const char* name) {
    static const unsigned degrees[] = {0, 20, 20, 60};
    function = name, described[0] = 0, must_fail = 0, block_count = out_count = 0;
    wrongness = ONE_OF(degrees);
}

static void trace(void) {
    static int on = -1;
    if (on < 0) on = getenv("ALIA_CALLS_TRACE") != NULL;
    if (on) fprintf(stderr, "%ld %s(%s)\n", call_number, function, described);
}

static int ended_well(alia_status s, count* c) {
    ++c->calls;
    expect(s >= ALIA_OK && s <= ALIA_INTERNAL, "no status");
    expect(s != ALIA_INTERNAL, "an internal error");
    if (s == ALIA_OK) {
        expect(!must_fail, "succeeded");
        ++c->good;
        return 1;
    }
    expect(alia_error_status() == s, "the error has another status");
    expect(alia_error_message()[0] != 0, "no message");
    expect(is_utf8(alia_error_message()) && is_utf8(alia_error_item()), "a message that is not UTF-8");
    expect(alia_error_handle_usable() == 1, "the handle is said to be lost");
    for (unsigned i = 0; i < out_count; ++i)
        expect(memcmp(outs[i].at, outs[i].before, outs[i].size) == 0, "a result was written");
    return 0;
}
static void end(void) {
    for (unsigned i = 0; i < block_count; ++i) free(blocks[i]);
}
static unsigned touched;
static void touch(const void* bytes, uint64_t n) {
    const unsigned char* b = bytes;
    for (uint64_t i = 0; i < n; ++i) touched += b[i];
}
static void is_text(const char* text) { expect(text != NULL && is_utf8(text), "no text"); }

/* ---- The program around the calls ---- */

static int32_t reference[6];
static uint64_t generate(alia_engine* engine, int32_t* ids) {
    alia_request_options o = ALIA_REQUEST_OPTIONS_INIT;
    uint64_t request;
    int n = 0, finished = 0;
    o.max_tokens = 6, o.temperature = 0, o.flags = ALIA_REQUEST_IGNORE_EOS;
    CHECK(alia_engine_submit(engine, prompt, prompt_count, &o, &request) == ALIA_OK);
    for (int turn = 0; !finished && turn < 1000; ++turn) {
        alia_event event = ALIA_EVENT_INIT;
        uint32_t got = 0;
        CHECK(alia_engine_step(engine, &event, 1, &got) == ALIA_OK);
        if (got && event.kind == ALIA_EVENT_TOKEN && n < 6) ids[n++] = event.token;
        finished = got && event.kind == ALIA_EVENT_FINISHED;
    }
    CHECK(n == 6 && finished);
    return request;
}

/* Ends what the calls have begun; the engines then answer as ever. */
static void settle(void) {
    function = "between calls", described[0] = 0;
    for (int i = 0; i < 2; ++i) {
        int32_t idle = 0, ids[6] = {0};
        CHECK(alia_engine_stop(engines[i]) == ALIA_OK);
        for (uint64_t n = requests[i].ended + 1; n <= requests[i].last; ++n) alia_engine_cancel(engines[i], n);
        for (int turn = 0; !idle && turn < 100000; ++turn) {
            alia_event event = ALIA_EVENT_INIT;
            uint32_t got;
            alia_engine_step(engines[i], &event, 1, &got);
            CHECK(alia_engine_idle(engines[i], &idle) == ALIA_OK);
        }
        for (uint64_t n = sequences[i].ended + 1; n <= sequences[i].last; ++n) alia_sequence_free(engines[i], n);
        sequences[i].ended = sequences[i].last;
        requests[i].ended = requests[i].last = generate(engines[i], ids);
        expect(idle && memcmp(ids, reference, sizeof ids) == 0, "an engine answers otherwise");
    }
}

static void read_files(const char* folder) {
    for (int i = 0; i < file_count; ++i) {
        char name[512];
        snprintf(name, sizeof name, "%s/%s", folder, file_names[i]);
        FILE* f = fopen(name, "rb");
        if (f) {
            fseek(f, 0, SEEK_END);
            sizes[i] = (uint64_t)ftell(f);
            contents[i] = malloc(sizes[i]);
            rewind(f);
            CHECK(fread(contents[i], 1, sizes[i], f) == sizes[i]);
            fclose(f);
        } else {
            static const char chat[] = "{% for m in messages %}{{ m.content }}{% endfor %}";
            const int is_chat = strstr(file_names[i], "jinja") != NULL;
            sizes[i] = is_chat ? sizeof chat - 1 : sizeof tiny_tokenizer - 1;
            contents[i] = memcpy(malloc(sizes[i]), is_chat ? chat : tiny_tokenizer, sizes[i]);
        }
        snprintf(name, sizeof name, "model/%s", file_names[i]);
        f = fopen(name, "wb");
        CHECK(f && fwrite(contents[i], 1, sizes[i], f) == sizes[i] && fclose(f) == 0);
    }
}

static alia_model* open_files(uint64_t n) {
    alia_memory_file files[file_count];
    alia_model* m = NULL;
    for (int i = 0; i < file_count; ++i) {
        files[i] = (alia_memory_file)ALIA_MEMORY_FILE_INIT;
        files[i].name = file_names[i], files[i].name_length = strlen(file_names[i]);
        files[i].bytes = contents[i], files[i].length = sizes[i];
    }
    CHECK(alia_model_open_memory(files, n, NULL, &m) == ALIA_OK);
    return m;
}

static char folder[] = "/tmp/alia-calls-XXXXXX";
static void set_up(void) {
    const char* seed = getenv("ALIA_TEST_SEED");
    char* old = realpath(path, NULL);
    state = seed ? strtoull(seed, NULL, 10) : (uint64_t)getpid();
    printf("ALIA_TEST_SEED=%llu\n", (unsigned long long)state);
    fflush(stdout);
    CHECK(old && mkdtemp(folder) && chdir(folder) == 0 && mkdir("model", 0700) == 0);
    read_files(old);
    free(old);
    plain_model = open_files(file_count - 1), text_model = open_files(file_count), headers_model = fresh_model();
    for (int i = 0; i < 2; ++i) engines[i] = open_engine(text_model, 8);
    generate(engines[0], reference);

    alia_request_options o = ALIA_REQUEST_OPTIONS_INIT;
    alia_event event = ALIA_EVENT_INIT;
    uint64_t sequence, request;
    uint32_t got;
    void* bytes;
    CHECK(alia_sequence_new(engines[0], &sequence) == ALIA_OK);
    o.max_tokens = 2, o.flags = ALIA_REQUEST_PROMPT_LOGITS | ALIA_REQUEST_IGNORE_EOS, o.sequence = sequence;
    CHECK(alia_engine_submit(engines[0], prompt, prompt_count, &o, &request) == ALIA_OK);
    while (event.kind != ALIA_EVENT_FINISHED && !failures) {
        CHECK(alia_engine_step(engines[0], &event, 1, &got) == ALIA_OK);
        if (event.kind == ALIA_EVENT_LOGITS) logit_count = (size_t)event.columns;
    }
    flat_logits = calloc(logit_count, sizeof *flat_logits);
    CHECK(alia_sequence_save(engines[0], sequence, &bytes, &saved.count) == ALIA_OK);
    saved.at = bytes;
    CHECK(alia_sequence_save_file(engines[0], sequence, "state", 5) == ALIA_OK);
    if (failures) _Exit(1);
}

static int forget_file(const char* name, const struct stat* s, int kind, struct FTW* at) {
    (void)s, (void)kind, (void)at;
    return remove(name);
}
static void tear_down(void) {
    for (int i = 0; i < 2; ++i) CHECK(alia_engine_free(engines[i]) == ALIA_OK);
    CHECK(alia_model_free(plain_model) == ALIA_OK && alia_model_free(text_model) == ALIA_OK);
    CHECK(alia_model_free(headers_model) == ALIA_OK);
    alia_bytes_free((void*)saved.at);
    free(flat_logits);
    for (int i = 0; i < file_count; ++i) free(contents[i]);
    CHECK(chdir("/") == 0 && nftw(folder, forget_file, 8, FTW_DEPTH | FTW_PHYS) == 0);
}
