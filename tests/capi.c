/* The C interface from C: arguments of every kind of wrongness, handles, and struct sizes.
 * Usage: capi MODEL. */
#include "tests/capi.h"

static void test_version(void) {
    CHECK(alia_check() == ALIA_OK);
    CHECK(alia_abi_version() == ALIA_ABI_VERSION && strchr(alia_version(), '.'));
    CHECK(alia_abi_check(ALIA_ABI_VERSION + 1) == ALIA_UNSUPPORTED && strstr(alia_error_message(), "newer library"));
    CHECK(alia_abi_check((ALIA_ABI_MAJOR + 1u) << 16) == ALIA_UNSUPPORTED);
    CHECK(strcmp(alia_status_name(ALIA_BAD_HANDLE), "bad_handle") == 0);
    CHECK(strcmp(alia_status_name(ALIA_INTERNAL), "internal") == 0);
    CHECK(strcmp(alia_status_name(-1), "unknown") == 0 && strcmp(alia_status_name(21), "unknown") == 0);
    alia_text_free(NULL);
    alia_ids_free(NULL);
    CHECK(alia_model_free(NULL) == ALIA_OK && alia_engine_free(NULL) == ALIA_OK);
}

/* Every function that takes a handle, with one that is not open. */
static void all_with_model(alia_model* m, alia_status expected) {
    char* text;
    const char* bytes;
    const int32_t* tokens;
    int32_t* ids;
    int32_t id;
    uint64_t n;
    double rate;
    alia_engine* e;
    alia_text_part part = ALIA_TEXT_PART_INIT;
    FAILS(alia_model_info(m, &text, &n), expected, "model");
    FAILS(alia_model_encode(m, &part, 1, 0, &ids, &n), expected, "model");
    FAILS(alia_model_decode(m, prompt, 1, 0, &text, &n), expected, "model");
    FAILS(alia_model_token_bytes(m, 0, &bytes, &n), expected, "model");
    FAILS(alia_model_token_find(m, "a", 1, &id), expected, "model");
    FAILS(alia_model_vocabulary(m, &id), expected, "model");
    FAILS(alia_model_bos(m, &id), expected, "model");
    FAILS(alia_model_eos(m, &tokens, &n), expected, "model");
    FAILS(alia_engine_open(m, NULL, &e), expected, "model");
    FAILS(alia_model_read_rate(m, &rate), expected, "model");
    const uint64_t one = 1;
    FAILS(alia_imatrix(m, prompt, 1, &one, 1, NULL, "/nonexistent/x", 14), expected, "model");
    if (m) FAILS(alia_model_free(m), expected, "model");
}
static void all_with_engine(alia_engine* e, alia_status expected) {
    alia_event event = ALIA_EVENT_INIT;
    uint64_t request;
    uint32_t count;
    int32_t idle;
    FAILS(alia_engine_submit(e, prompt, 1, NULL, &request), expected, "engine");
    FAILS(alia_engine_step(e, &event, 1, &count), expected, "engine");
    FAILS(alia_engine_cancel(e, 1), expected, "engine");
    FAILS(alia_engine_idle(e, &idle), expected, "engine");
    if (e) FAILS(alia_engine_free(e), expected, "engine");
}

static void test_handles(void) {
    alia_model* model = open_model();
    alia_engine* engine = open_engine(model, 4);
    int local = 0;
    all_with_model(NULL, ALIA_INVALID_ARGUMENT);
    all_with_engine(NULL, ALIA_INVALID_ARGUMENT);
    const uintptr_t foreign[] = {1,
                                 4096,
                                 (uintptr_t)&local,
                                 UINTPTR_MAX,
                                 (uintptr_t)model ^ 1,
                                 (uintptr_t)model + 4096,
                                 (uintptr_t)model ^ (uintptr_t)1 << 45};
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; ++i) {
        if ((alia_engine*)foreign[i] == engine) continue;
        all_with_model((alia_model*)foreign[i], ALIA_BAD_HANDLE);
        all_with_engine((alia_engine*)foreign[i], ALIA_BAD_HANDLE);
    }
    all_with_model((alia_model*)engine, ALIA_BAD_HANDLE);
    all_with_engine((alia_engine*)model, ALIA_BAD_HANDLE);

    /* A freed handle stays bad when its slot is used again; an engine outlives its model's handle. */
    CHECK(alia_model_free(model) == ALIA_OK);
    all_with_model(model, ALIA_BAD_HANDLE);
    alia_model* again = open_model();
    CHECK(again != model);
    all_with_model(model, ALIA_BAD_HANDLE);
    int32_t idle = 0;
    CHECK(alia_engine_idle(engine, &idle) == ALIA_OK && idle == 1);
    CHECK(alia_engine_free(engine) == ALIA_OK);
    all_with_engine(engine, ALIA_BAD_HANDLE);
    CHECK(alia_model_free(again) == ALIA_OK);
}

static int32_t stop_at_once(void* user, const alia_progress* p) {
    ++*(int*)user;
    return p->size != sizeof *p || p->done < 0 || p->done > p->total || !p->phase[0] || 1;
}

static void test_open(void) {
    alia_model* m = NULL;
    alia_model_options o = ALIA_MODEL_OPTIONS_INIT;
    char *json, with_nul[] = "a\0b";
    uint64_t n;
    BAD(alia_model_open(NULL, 0, NULL, &m), "path");
    BAD(alia_model_open("", 0, NULL, &m), "path");
    BAD(alia_model_open(with_nul, 3, NULL, &m), "path");
    BAD(alia_model_open(path, strlen(path), NULL, NULL), "model");
    CHECK(alia_model_open("/nonexistent/model.gguf", 23, NULL, &m) == ALIA_NOT_FOUND);
    CHECK(strstr(alia_error_message(), "/nonexistent/model.gguf") && alia_error_offset() == -1);
    o.load = 3;
    BAD(alia_model_open(path, strlen(path), &o, &m), "options.load");
    o.load = ALIA_LOAD_ALL, o.threads = -1;
    BAD(alia_model_open(path, strlen(path), &o, &m), "options.threads");
    o.threads = 0, o.device_length = 3;
    BAD(alia_model_open(path, strlen(path), &o, &m), "options.device");
    o.device = "no such device", o.device_length = 14;
    CHECK(alia_model_open(path, strlen(path), &o, &m) == ALIA_DEVICE_UNAVAILABLE);
    int calls = 0;
    o.device_length = 0, o.progress = stop_at_once, o.user = &calls;
    CHECK(alia_model_open(path, strlen(path), &o, &m) == ALIA_CANCELLED && calls == 1);
    CHECK(m == NULL);

    BAD(alia_plan(NULL, 0, NULL, NULL, &json, &n), "path");
    BAD(alia_plan(path, strlen(path), NULL, NULL, NULL, &n), "json");
    BAD(alia_plan(path, strlen(path), NULL, NULL, &json, NULL), "length");
    CHECK(alia_plan(path, strlen(path), NULL, NULL, &json, &n) == ALIA_OK);
    CHECK(strlen(json) == n && strstr(json, "\"total\": ") && strstr(json, "\"fits\": true"));
    alia_text_free(json);

    BAD(alia_devices(NULL, &n), "json");
    BAD(alia_devices(&json, NULL), "length");
    CHECK(alia_devices(&json, &n) == ALIA_OK);
    CHECK(strlen(json) == n && strstr(json, "{\"name\": \"cpu:base\", \"usable\": true}"));
    alia_text_free(json);

    BAD(alia_device_roofs("cpu", 3, -1, &json, &n), "threads");
    BAD(alia_device_roofs(NULL, 3, 1, &json, &n), "device");
    BAD(alia_device_roofs("cpu", 3, 1, NULL, &n), "json");
    BAD(alia_device_roofs("cpu", 3, 1, &json, NULL), "length");
    CHECK(alia_device_roofs("no such device", 14, 1, &json, &n) == ALIA_DEVICE_UNAVAILABLE);
    CHECK(alia_device_roofs("cpu", 3, 1, &json, &n) == ALIA_OK);
    CHECK(strlen(json) == n && strstr(json, "\"device\": \"cpu_") && strstr(json, "\"read\": "));
    alia_text_free(json);

    m = open_model();
    double rate = 0;
    BAD(alia_model_read_rate(m, NULL), "rate");
    CHECK(alia_model_read_rate(m, &rate) == ALIA_OK && rate > 0);
    CHECK(alia_model_free(m) == ALIA_OK);

    o = (alia_model_options)ALIA_MODEL_OPTIONS_INIT;
    o.flags = 2;
    BAD(alia_model_open(path, strlen(path), &o, &m), "options.flags");
    o.flags = ALIA_MODEL_PIN_THREADS;
    o.load = ALIA_LOAD_HEADERS;
    CHECK(alia_model_open(path, strlen(path), &o, &m) == ALIA_OK);
    alia_engine* e = NULL;
    BAD(alia_engine_open(m, NULL, &e), "model");
    BAD(alia_model_info(m, NULL, &n), "json");
    BAD(alia_model_info(m, &json, NULL), "length");
    CHECK(alia_model_info(m, &json, &n) == ALIA_OK);
    CHECK(strlen(json) == n && strstr(json, "\"load\": \"headers\"") && strstr(json, "\"parameters\": "));
    alia_text_free(json);
    CHECK(alia_model_free(m) == ALIA_OK);
}

static void test_struct_sizes(void) {
    alia_model* model = open_model();
    alia_engine* engine = NULL;
    struct {
        alia_engine_options known;
        uint64_t later;
    } o = {ALIA_ENGINE_OPTIONS_INIT, 0};
    o.known.context = 64;
    o.known.size = sizeof o;
    CHECK(alia_engine_open(model, &o.known, &engine) == ALIA_OK && alia_engine_free(engine) == ALIA_OK);
    o.later = 1;
    FAILS(alia_engine_open(model, &o.known, &engine), ALIA_UNSUPPORTED, "options");
    CHECK(strstr(alia_error_message(), "newer client") != NULL);
    o.known.size = 16; /* size, cache, context; what follows is not read */
    o.known.chunk = -5;
    CHECK(alia_engine_open(model, &o.known, &engine) == ALIA_OK && alia_engine_free(engine) == ALIA_OK);
    const uint32_t wrong[] = {0, 4, 12, 4104, UINT32_MAX};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; ++i) {
        o.known.size = wrong[i];
        BAD(alia_engine_open(model, &o.known, &engine), "options");
    }
    o.known.size = sizeof o.known;
    BAD(alia_engine_open(model, &o.known, &engine), "chunk");
    BAD(alia_engine_open(model, NULL, NULL), "engine");

    /* Events: a larger one's tail is zeroed, a shorter one's neighbour untouched. */
    engine = open_engine(model, 4);
    struct {
        alia_event known;
        uint64_t later;
    } events[2] = {{ALIA_EVENT_INIT, 7}, {ALIA_EVENT_INIT, 7}};
    uint64_t request, small[4] = {16, 0, 7, 7};
    uint32_t count;
    CHECK(alia_engine_submit(engine, prompt, 1, NULL, &request) == ALIA_OK && request == 1);
    events[0].known.size = sizeof events[0];
    BAD(alia_engine_step(engine, &events[0].known, 2, &count), "events");
    events[1].known.size = sizeof events[0];
    CHECK(alia_engine_step(engine, &events[0].known, 2, &count) == ALIA_OK && count >= 1);
    CHECK(events[0].later == 0 && events[0].known.size == sizeof events[0] && events[0].known.kind == ALIA_EVENT_TOKEN);
    CHECK(count == 2 || events[1].later == 7);
    do CHECK(alia_engine_step(engine, (alia_event*)small, 1, &count) == ALIA_OK);
    while (count == 0);
    CHECK((uint32_t)small[0] == 16 && small[1] == request && small[2] == 7 && small[3] == 7);
    CHECK(alia_engine_free(engine) == ALIA_OK && alia_model_free(model) == ALIA_OK);
}

static void test_imatrix(void) {
    alia_model* m = open_model();
    alia_imatrix_options o = ALIA_IMATRIX_OPTIONS_INIT;
    const char* out = "capi-imatrix.gguf";
    const uint64_t n = strlen(out), lengths[] = {3, prompt_count - 3, 1}, huge[] = {UINT64_MAX, 2};
    const int32_t wrong[] = {1, -1};
    BAD(alia_imatrix(m, prompt, prompt_count, lengths, 2, &o, NULL, 0), "path");
    BAD(alia_imatrix(m, NULL, 1, lengths, 1, &o, out, n), "ids");
    BAD(alia_imatrix(m, prompt, 1, NULL, 1, &o, out, n), "lengths");
    BAD(alia_imatrix(m, prompt, prompt_count, lengths, 1, &o, out, n), "lengths");
    BAD(alia_imatrix(m, prompt, prompt_count, lengths, 3, &o, out, n), "lengths");
    BAD(alia_imatrix(m, prompt, 1, huge, 2, &o, out, n), "lengths");
    BAD(alia_imatrix(m, NULL, 0, NULL, 0, &o, out, n), "sequences");
    BAD(alia_imatrix(m, wrong, 2, lengths + 2, 1, &o, out, n), "lengths");
    BAD(alia_imatrix(m, wrong + 1, 1, lengths + 2, 1, &o, out, n), "ids");
    o.flags = 2;
    BAD(alia_imatrix(m, prompt, prompt_count, lengths, 2, &o, out, n), "options.flags");
    o.flags = 0, o.datasets_length = 1;
    BAD(alia_imatrix(m, prompt, prompt_count, lengths, 2, &o, out, n), "options.datasets");
    CHECK(alia_imatrix(m, prompt, 1, lengths + 2, 1, NULL, "/nonexistent/x", 14) == ALIA_NOT_FOUND);
    int calls = 0;
    o.datasets_length = 0, o.progress = stop_at_once, o.user = &calls;
    CHECK(alia_imatrix(m, prompt, prompt_count, lengths, 2, &o, out, n) == ALIA_CANCELLED && calls == 1);
    CHECK(fopen(out, "rb") == NULL);
    o.progress = NULL;
    CHECK(alia_imatrix(m, prompt, prompt_count, lengths, 2, &o, out, n) == ALIA_OK);
    CHECK(remove(out) == 0 && alia_model_free(m) == ALIA_OK);

    alia_model_options headers = ALIA_MODEL_OPTIONS_INIT;
    headers.load = ALIA_LOAD_HEADERS;
    CHECK(alia_model_open(path, strlen(path), &headers, &m) == ALIA_OK);
    BAD(alia_imatrix(m, prompt, prompt_count, lengths, 2, NULL, out, n), "model");
    double rate = 0;
    BAD(alia_model_read_rate(m, &rate), "model");
    CHECK(alia_model_free(m) == ALIA_OK);
}

int main(int argc, char** argv) {
    if (argc != 2) return 2;
    path = argv[1];
    CHECK(alia_error_status() == ALIA_OK && alia_error_message()[0] == 0 && alia_error_item()[0] == 0);
    test_version();
    test_open();
    test_handles();
    test_struct_sizes();
    test_imatrix();
    printf("%s\n", failures ? "failed" : "all passed");
    return failures != 0;
}
