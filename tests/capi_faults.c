/* Whatever fails once - an allocation, a call of the system, a read that ends early - gives a typed error, loses
 * nothing, and the same call made again gives the same answer as ever; `abort` and its kin are never reached. Usage:
 * capi_faults MODEL, a model without a tokenizer. ALIA_FAULT_STEP 0 fails each call in turn, those of
 * alia_device_roofs, too; otherwise the steps from one to the next grow, by 1 for each so many calls. The program's own
 * definitions stand before the C library's. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/capi.h"
#include "tests/tiny_tokenizer.h"

/* ---- What can fail ---- */

enum { memory, calls, kinds };
static const char* const kind_names[kinds] = {"allocation", "system call"};
static atomic_long seen[kinds], fail_at[kinds]; /* counted while armed; the number that fails, 0: none */
static atomic_long live, cut;                   /* blocks of memory; failing `fstat`s say half the size instead */

static int fails(int kind) { return ++seen[kind] == fail_at[kind]; }

extern void* __libc_malloc(size_t);
extern void* __libc_calloc(size_t, size_t);
extern void* __libc_realloc(void*, size_t);
extern void* __libc_memalign(size_t, size_t);
extern void __libc_free(void*);
static void* counted(void* p) {
    if (p) ++live;
    return p;
}
static void* none(void) {
    errno = ENOMEM;
    return NULL;
}
void* malloc(size_t n) { return fails(memory) ? none() : counted(__libc_malloc(n)); }
void* calloc(size_t n, size_t size) { return fails(memory) ? none() : counted(__libc_calloc(n, size)); }
void* realloc(void* p, size_t n) {
    if (fails(memory)) return none();
    if (!p) return counted(__libc_malloc(n));
    return __libc_realloc(p, n);
}
void* memalign(size_t alignment, size_t n) { return fails(memory) ? none() : counted(__libc_memalign(alignment, n)); }
void* aligned_alloc(size_t alignment, size_t n) { return memalign(alignment, n); }
int posix_memalign(void** p, size_t alignment, size_t n) { return (*p = memalign(alignment, n)) ? 0 : ENOMEM; }
void free(void* p) {
    if (p) --live;
    __libc_free(p);
}

#define REAL(name) ((__typeof__(&name))real(&name##_is, #name))
static void* real(_Atomic(void*)* known, const char* name) {
    if (!*known) *known = dlsym(RTLD_NEXT, name);
    return *known;
}
static _Atomic(void*) fstat_is, stat_is, rename_is, fsync_is, posix_fallocate_is, fopen_is, pthread_create_is;
static int fails_with(int error) {
    if (!fails(calls)) return 0;
    errno = error;
    return 1;
}
int open(const char* name, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    const int mode = flags & O_CREAT ? va_arg(rest, int) : 0;
    va_end(rest);
    return fails_with(EMFILE) ? -1 : (int)syscall(SYS_openat, AT_FDCWD, name, flags, mode);
}
int fstat(int fd, struct stat* s) {
    const int failing = fails_with(EIO);
    if (failing && !cut) return -1;
    const int result = REAL(fstat)(fd, s);
    if (failing) s->st_size /= 2;
    return result;
}
int stat(const char* restrict name, struct stat* restrict s) { return fails_with(EIO) ? -1 : REAL(stat)(name, s); }
void* mmap(void* at, size_t n, int protection, int flags, int fd, off_t offset) {
    return fails_with(ENOMEM) ? MAP_FAILED : (void*)syscall(SYS_mmap, at, n, protection, flags, fd, offset);
}
ssize_t write(int fd, const void* bytes, size_t n) {
    if (fd <= 2) return syscall(SYS_write, fd, bytes, n);
    const int failing = fails_with(ENOSPC);
    if (failing && !cut) return -1;
    return syscall(SYS_write, fd, bytes, failing ? n / 2 : n);
}
int fsync(int fd) { return fails_with(EIO) ? -1 : REAL(fsync)(fd); }
int rename(const char* from, const char* to) { return fails_with(EIO) ? -1 : REAL(rename)(from, to); }
int posix_fallocate(int fd, off_t at, off_t n) { return fails(calls) ? ENOSPC : REAL(posix_fallocate)(fd, at, n); }
FILE* fopen(const char* restrict name, const char* restrict mode) {
    return fails_with(EMFILE) ? NULL : REAL(fopen)(name, mode);
}
int pthread_create(pthread_t* restrict thread, const pthread_attr_t* restrict attributes, void* (*function)(void*),
                   void* restrict argument) {
    return fails(calls) ? EAGAIN : REAL(pthread_create)(thread, attributes, function, argument);
}

/* What a library must not reach. */
static const char* script_place = "outside";
static _Noreturn void reached(const char* what) {
    fprintf(stderr, "%s was reached at %s; allocation %ld, system call %ld failed\n", what, script_place,
            (long)fail_at[memory], (long)fail_at[calls]);
    syscall(SYS_exit_group, 86);
    __builtin_unreachable();
}
void abort(void) { reached("abort"); }
void exit(int status) {
    (void)status;
    reached("exit");
}
void _exit(int status) {
    (void)status;
    reached("_exit");
}

/* ---- The script ---- */

static int errors;      /* that calls or requests gave */
static uint64_t digest; /* of everything that was answered */
static void mix(const void* bytes, uint64_t n) {
    const unsigned char* b = bytes;
    for (uint64_t i = 0; i < n; ++i) digest = (digest ^ b[i]) * 0x100000001b3u;
}

static int typed(alia_status s) { return s > ALIA_OK && s < ALIA_INTERNAL && s != ALIA_BAD_HANDLE; }
static const char* last_failed = "nothing";
static int expected_error(alia_status s) {
    ++errors, last_failed = script_place;
    return typed(s) && alia_error_status() == s && alia_error_message()[0] && alia_error_item() &&
           alia_error_offset() >= -1 && alia_error_handle_usable();
}
/* The call, and once more where it failed. */
#define DO(call)                                                                    \
    do {                                                                            \
        script_place = #call;                                                       \
        alia_status s = (call);                                                     \
        if (s != ALIA_OK) {                                                         \
            check(expected_error(s), __FILE__, __LINE__, #call);                    \
            check((call) == ALIA_OK, __FILE__, __LINE__, "the same again: " #call); \
        }                                                                           \
    } while (0)

static void take_event(const alia_event* e) {
    mix(&e->kind, sizeof e->kind);
    mix(&e->completion, sizeof e->completion);
    mix(&e->token, sizeof e->token);
    mix(&e->finish, sizeof e->finish);
    mix(&e->position, sizeof e->position);
    mix(e->text, e->text_length);
    mix(e->values, (uint64_t)(e->rows * e->columns) * sizeof *e->values);
    mix(e->top, e->top_count * sizeof *e->top);
}

/* A request's answer, step by step or from the background. One that failed is asked again: its first is not counted. */
static void ask(alia_engine* engine, const alia_request_options* o, uint64_t n, int background) {
    const uint64_t before = digest;
    for (int attempt = 0, failed = 1; failed && attempt < 2; ++attempt) {
        uint64_t request = 0;
        digest = before, failed = 0;
        DO(alia_engine_submit(engine, prompt, n, o, &request));
        for (int finished = 0, turns = 0; finished < o->completions && !failures; ++turns) {
            CHECK(turns < 1000);
            alia_event events[3] = {ALIA_EVENT_INIT, ALIA_EVENT_INIT, ALIA_EVENT_INIT};
            uint32_t count = 0;
            if (background)
                DO(alia_engine_next(engine, events, 3, 20000, &count));
            else
                DO(alia_engine_step(engine, events, 3, &count));
            CHECK(!background || count > 0);
            for (uint32_t i = 0; i < count; ++i) {
                CHECK(events[i].request == request);
                finished += events[i].kind == ALIA_EVENT_FINISHED;
                if (events[i].finish == ALIA_FINISH_ERROR) {
                    CHECK(typed(events[i].status) && events[i].message_length > 0);
                    ++errors, failed = 1, last_failed = "a request";
                }
                if (events[i].kind == ALIA_EVENT_CHOICE) {
                    const uint64_t columns = (uint64_t)events[i].columns;
                    DO(alia_engine_choose(engine, request, events[i].completion, events[i].values, columns));
                }
                take_event(&events[i]);
            }
        }
        CHECK(!failed || attempt == 0);
    }
}

static alia_request_options request_options(uint32_t flags, int64_t tokens) {
    alia_request_options o = ALIA_REQUEST_OPTIONS_INIT;
    o.flags = flags | ALIA_REQUEST_IGNORE_EOS, o.max_tokens = tokens, o.temperature = 1, o.seed = 5;
    return o;
}

static char folder[64], state_file[96];
static int32_t keep_going(void* user, const alia_progress* p) {
    (void)user, (void)p;
    return 0;
}

static void use_text(alia_model* m) {
    alia_text_part part = ALIA_TEXT_PART_INIT;
    int32_t* ids = NULL;
    char* text = NULL;
    const char* bytes = NULL;
    uint64_t n = 0, length = 0;
    int32_t token = 0;
    part.text = "la ola", part.length = 6;
    DO(alia_model_encode(m, &part, 1, ALIA_ENCODE_ADD_SPECIAL, &ids, &n));
    mix(ids, n * sizeof *ids);
    DO(alia_model_decode(m, ids, n, 0, &text, &length));
    mix(text, length);
    DO(alia_model_token_bytes(m, ids[0], &bytes, &length));
    DO(alia_model_token_find(m, "la", 2, &token));
    alia_ids_free(ids);
    alia_text_free(text);
    DO(alia_model_info(m, &text, &length));
    mix(text, length);
    alia_text_free(text);
}

static void use_chat(alia_model* m) {
    static const char messages[] =
        "[{\"role\": \"user\", \"content\": \"ola\"}, {\"role\": \"assistant\", "
        "\"content\": \"la la\"}]";
    const uint64_t bytes = sizeof messages - 1;
    alia_chat_options o = ALIA_CHAT_OPTIONS_INIT;
    char* text = NULL;
    int32_t* ids = NULL;
    uint64_t n = 0;
    o.variables = "{\"more\": [\"lo\"]}", o.variables_length = strlen(o.variables), o.now = 0;
    DO(alia_chat_render(m, messages, bytes, &o, &text, &n));
    mix(text, n);
    alia_text_free(text);
    DO(alia_chat_encode(m, messages, bytes, &o, &ids, &n));
    mix(ids, n * sizeof *ids);
    alia_ids_free(ids);
    DO(alia_chat_stops(m, &ids, &n));
    mix(ids, n * sizeof *ids);
    alia_ids_free(ids);
}

static void use_requests(alia_engine* e, int background) {
    const char* stops[] = {"zzz", "ola"};
    const uint64_t lengths[] = {3, 3};
    const int32_t bias_token[] = {7, 3};
    const float bias[] = {2, -1};
    alia_request_options o = request_options(0, 12);
    o.stop_text = stops, o.stop_text_length = lengths, o.stop_text_count = 2, o.top_tokens = 3;
    o.bias_token = bias_token, o.bias = bias, o.bias_count = 2, o.repetition_penalty = 1.1;
    o.salt = "tenant", o.salt_length = 6;
    ask(e, &o, prompt_count, background);
    o = request_options(ALIA_REQUEST_PROMPT_LOGITS | ALIA_REQUEST_PROMPT_SCORES, 3);
    o.completions = 2, o.pooling = ALIA_POOLING_MEAN;
    ask(e, &o, 5, background);
    o = request_options(ALIA_REQUEST_CHOOSE, 3);
    ask(e, &o, 4, background);
    o = request_options(0, 80), o.context_first = 2, o.context_last = 9;
    ask(e, &o, 2, background);
    uint64_t request = 0;
    DO(alia_request_options_set(&o, "max_tokens", 10, "-1", 2));
    DO(alia_engine_submit(e, prompt, 3, &o, &request));
    DO(alia_engine_cancel(e, request));
    for (int finished = 0; !finished && !failures;) {
        alia_event event = ALIA_EVENT_INIT;
        uint32_t count = 0;
        if (background)
            DO(alia_engine_next(e, &event, 1, 20000, &count));
        else
            DO(alia_engine_step(e, &event, 1, &count));
        finished = count && event.kind == ALIA_EVENT_FINISHED;
        CHECK(!finished || (event.request == request && event.finish == ALIA_FINISH_CANCELLED));
    }
}

static void use_sequences(alia_engine* e) {
    uint64_t a = 0, b = 0, c = 0, n = 0;
    int32_t* ids = NULL;
    void* state = NULL;
    DO(alia_sequence_new(e, &a));
    alia_request_options o = request_options(0, 4);
    o.sequence = a;
    /* A request that fails leaves what it had said: this one is not asked again. */
    const uint64_t before = digest;
    const int errors_before = errors;
    ask(e, &o, prompt_count, 0);
    if (errors > errors_before) {
        DO(alia_sequence_truncate(e, a, 0));
        digest = before;
        ask(e, &o, prompt_count, 0);
    }
    DO(alia_sequence_tokens(e, a, &ids, &n));
    mix(ids, n * sizeof *ids);
    alia_ids_free(ids);
    DO(alia_sequence_fork(e, a, &b));
    DO(alia_sequence_keep(e, b, prompt, 6, &n));
    DO(alia_sequence_truncate(e, b, n));
    DO(alia_sequence_save(e, b, &state, &n));
    mix(state, n);
    DO(alia_sequence_restore(e, state, n, &c));
    alia_bytes_free(state);
    DO(alia_sequence_free(e, c));
    DO(alia_sequence_save_file(e, b, state_file, strlen(state_file)));
    DO(alia_sequence_restore_file(e, state_file, strlen(state_file), &c));
    DO(alia_sequence_free(e, a));
    DO(alia_sequence_free(e, b));
    DO(alia_sequence_free(e, c));
}

static const char* const names[] = {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json",
                                    "tokenizer_config.json"};
enum { file_count = 5 };
static const char chat_config[] =
    "{\"bos_token\": \"<s>\", \"chat_template\": \"{{ bos_token }}{% for m in messages %}{{ m.content + ' ' }}"
    "{% endfor %}{{ more | join }}{% if add_generation_prompt %}la{% endif %}\"}";
static alia_memory_file files[file_count];
static int64_t size_of(void* user, const char* name, uint64_t length) {
    (void)user;
    for (int i = 0; i < file_count; ++i)
        if (strlen(names[i]) == length && memcmp(names[i], name, length) == 0) return (int64_t)files[i].length;
    return -1;
}
static int32_t read_of(void* user, const char* name, uint64_t length, int64_t offset, void* to, uint64_t bytes) {
    (void)user;
    if (fails(calls)) return 1;
    for (int i = 0; i < file_count; ++i)
        if (strlen(names[i]) == length && memcmp(names[i], name, length) == 0)
            memcpy(to, (const char*)files[i].bytes + offset, bytes);
    return 0;
}

/* It takes a second. */
static void measure(void) {
    char* json = NULL;
    uint64_t n = 0;
    digest = 0;
    DO(alia_device_roofs("cpu:base", 8, 2, &json, &n));
    alia_text_free(json);
    script_place = "outside";
}

/* With threads of the library's own, which wait long where more processors are busy. */
static void open_only(void) {
    alia_model_options mo = ALIA_MODEL_OPTIONS_INIT;
    alia_engine_options eo = ALIA_ENGINE_OPTIONS_INIT;
    alia_model* m = NULL;
    alia_engine* e = NULL;
    double rate = 0;
    digest = 0;
    mo.device = "cpu:base", mo.device_length = 8, mo.threads = 2, eo.context = 64;
    DO(alia_model_open(folder, strlen(folder), &mo, &m));
    if (failures) return;
    DO(alia_engine_open(m, &eo, &e));
    DO(alia_model_read_rate(m, &rate));
    CHECK(alia_engine_free(e) == ALIA_OK && alia_model_free(m) == ALIA_OK);
    script_place = "outside";
}

static void use_all(void) {
    alia_model_options mo = ALIA_MODEL_OPTIONS_INIT;
    alia_engine_options eo = ALIA_ENGINE_OPTIONS_INIT;
    alia_model *m = NULL, *other = NULL;
    alia_engine* e = NULL;
    char* json = NULL;
    uint64_t n = 0;
    int32_t idle = 0, token = 0;
    const int32_t* eos = NULL;
    digest = 0xcbf29ce484222325u;
    mo.device = "cpu:base", mo.device_length = 8, mo.progress = keep_going;
    DO(alia_engine_options_set(&eo, "context", 7, "64", 2));
    DO(alia_engine_options_set(&eo, "chunk", 5, "5", 1));
    eo.positions = 192, eo.sequences = 4, eo.logit_rows = 4;
    DO(alia_model_options_set(&mo, "threads", 7, "1", 1));
    DO(alia_check());
    DO(alia_devices(&json, &n));
    alia_text_free(json);
    DO(alia_plan(folder, strlen(folder), &mo, &eo, &json, &n));
    alia_text_free(json);
    DO(alia_model_open(folder, strlen(folder), &mo, &m));
    if (failures) return;
    DO(alia_model_vocabulary(m, &token));
    mix(&token, sizeof token);
    DO(alia_model_bos(m, &token));
    mix(&token, sizeof token);
    DO(alia_model_eos(m, &eos, &n));
    mix(eos, n * sizeof *eos);
    use_text(m);
    use_chat(m);
    DO(alia_engine_open(m, &eo, &e));
    if (failures) return;
    use_requests(e, 0);
    use_sequences(e);
    DO(alia_engine_start(e));
    use_requests(e, 1);
    DO(alia_engine_stop(e));
    DO(alia_engine_counters(e, &json, &n));
    alia_text_free(json);
    DO(alia_engine_idle(e, &idle));
    CHECK(idle == 1);
    CHECK(alia_engine_free(e) == ALIA_OK);
    mo.load = ALIA_LOAD_TEXT;
    DO(alia_model_open_memory(files, file_count, &mo, &other));
    use_text(other);
    CHECK(alia_model_free(other) == ALIA_OK);
    alia_reader reader = ALIA_READER_INIT;
    reader.file_size = size_of, reader.read = read_of;
    mo.load = ALIA_LOAD_ALL;
    DO(alia_model_open_reader(&reader, NULL, 0, &mo, &other));
    use_text(other);
    CHECK(alia_model_free(other) == ALIA_OK);
    alia_quantize_options qo = ALIA_QUANTIZE_OPTIONS_INIT;
    qo.threads = 1;
    DO(alia_quantize(folder, strlen(folder), state_file, strlen(state_file), "Q8_0", 4, &qo, &json, &n));
    mix(json, n);
    alia_text_free(json);
    uint64_t length = prompt_count;
    DO(alia_imatrix(m, prompt, prompt_count, &length, 1, NULL, state_file, strlen(state_file)));
    CHECK(alia_model_free(m) == ALIA_OK);
    script_place = "outside";
}

/* ---- Failing each in turn ---- */

static void (*script)(void) = use_all;
static uint64_t right;
/* The script with the n-th call of a kind failing; whether there were so many. */
static int run(int kind, long n, int shortened) {
    cut = shortened;
    seen[memory] = seen[calls] = 0;
    fail_at[kind] = n;
    last_failed = "none";
    script();
    const int reached_it = seen[kind] >= n;
    fail_at[kind] = 0;
    const int more = failures ? 0 : reached_it;
    if (digest != right) check(0, __FILE__, __LINE__, "the answers differ");
    if (failures)
        fprintf(stderr, "%s %ld%s failed; the last call to fail was %s\n", kind_names[kind], n,
                shortened ? ", cut short," : "", last_failed);
    return more;
}

static void run_all(int kind, int step, int shortened) {
    long n = 1;
    int runs = 0;
    errors = 0;
    for (; !failures; n += step ? 1 + n / step : 1, ++runs) {
        long before = live;
        if (!run(kind, n, shortened)) break;
        /* What is made once for good may be made in a failing run; what leaks, leaks again. */
        if (live != before) before = live, run(kind, n, shortened);
        if (live != before) {
            check(0, __FILE__, __LINE__, "something leaks");
            fprintf(stderr, "%s %ld%s: %ld blocks\n", kind_names[kind], n, shortened ? " cut short" : "",
                    live - before);
        }
    }
    printf("%s%ss: %d runs up to number %ld, %d errors\n", kind_names[kind], shortened ? " cut short" : "", runs, n,
           errors);
    fflush(stdout);
    CHECK(errors > runs / 4 && n > (script == use_all ? 50 : 1));
}

/* The same of another script, which answers nothing. */
static void run_all_of(void (*other)(void), int kind, int step) {
    script = other, right = 0;
    script();
    run_all(kind, step, 0);
}

static void put(const char* name, const void* bytes, size_t n) {
    char file[256];
    snprintf(file, sizeof file, "%s/%s", folder, name);
    FILE* f = fopen(file, "wb");
    CHECK(f && fwrite(bytes, 1, n, f) == n && fclose(f) == 0);
}

int main(int argc, char** argv) {
    if (argc < 2) return 2;
    const char* given = getenv("ALIA_FAULT_STEP");
    const int step = given ? atoi(given) : 8;
    snprintf(folder, sizeof folder, "/tmp/alia-faults-XXXXXX");
    CHECK(mkdtemp(folder) != NULL);
    snprintf(state_file, sizeof state_file, "%s/out", folder);
    for (int i = 0; i < file_count; ++i) {
        char name[512];
        void* bytes = (void*)(i == 3 ? tiny_tokenizer : chat_config);
        size_t n = strlen(bytes);
        snprintf(name, sizeof name, "%s/%s", argv[1], names[i]);
        if (i < 3) {
            FILE* f = fopen(name, "rb");
            CHECK(f && fseek(f, 0, SEEK_END) == 0);
            if (!f) return 1;
            n = (size_t)ftell(f), bytes = malloc(n);
            rewind(f);
            CHECK(fread(bytes, 1, n, f) == n && fclose(f) == 0);
        }
        put(names[i], bytes, n);
        files[i] = (alia_memory_file)ALIA_MEMORY_FILE_INIT;
        files[i].name = names[i], files[i].name_length = strlen(names[i]), files[i].bytes = bytes, files[i].length = n;
    }
    script();
    right = digest;
    script();
    CHECK(digest == right && errors == 0);
    run_all(calls, step, 0);
    run_all(calls, step, 1);
    run_all(memory, step, 0);
    run_all_of(open_only, calls, step);
    run_all_of(open_only, memory, step);
    if (step == 0) {
        run_all_of(measure, calls, step);
        run_all_of(measure, memory, step);
    }
    for (int i = 0; i < file_count; ++i) {
        char name[512];
        snprintf(name, sizeof name, "%s/%s", folder, names[i]);
        unlink(name);
    }
    unlink(state_file);
    CHECK(rmdir(folder) == 0); /* no temporary file is left either */
    printf("%s\n", failures ? "failed" : "all passed");
    fflush(stdout);
    syscall(SYS_exit_group, failures != 0);
}
