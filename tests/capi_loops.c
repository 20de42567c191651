/* Models and engines made and freed over and over, by one thread and by several: nothing grows. Usage: capi_loops
 * MODEL. The environment: ALIA_LOOPS, how many loads (200 without it). */
#define _GNU_SOURCE
#include <pthread.h>

#include "tests/capi.h"
#include "tests/process.h"

/* The tokens of a short greedy generation. */
static void generate(alia_engine* engine, int32_t ids[6]) {
    alia_request_options o = ALIA_REQUEST_OPTIONS_INIT;
    uint64_t request;
    int n = 0, finished = 0;
    o.max_tokens = 6, o.temperature = 0, o.flags = ALIA_REQUEST_IGNORE_EOS;
    CHECK(alia_engine_submit(engine, prompt, prompt_count, &o, &request) == ALIA_OK);
    while (!finished && !failures) {
        alia_event event = ALIA_EVENT_INIT;
        uint32_t count = 0;
        CHECK(alia_engine_step(engine, &event, 1, &count) == ALIA_OK);
        if (count && event.kind == ALIA_EVENT_TOKEN && n < 6) ids[n++] = event.token;
        finished = count && event.kind == ALIA_EVENT_FINISHED;
    }
    CHECK(n == 6);
}

static int32_t expected[6];
static void check_engine(alia_model* model) {
    int32_t ids[6] = {0};
    alia_engine* engine = open_engine(model, 4);
    generate(engine, ids);
    CHECK(memcmp(ids, expected, sizeof ids) == 0);
    CHECK(alia_engine_free(engine) == ALIA_OK);
}

static void load_once(int i) {
    alia_model_options o = ALIA_MODEL_OPTIONS_INIT;
    alia_model *model = NULL, *none = NULL;
    CHECK(alia_model_open(path, strlen(path), &o, &model) == ALIA_OK);
    o.device = "none", o.device_length = 4;
    CHECK(alia_model_open(path, strlen(path), &o, &none) == ALIA_DEVICE_UNAVAILABLE && !none);
    if (i % 10 == 0) check_engine(model);
    if (i % 10 == 5) { /* freed in mid-generation, in the background, after its model */
        uint64_t request;
        alia_engine* engine = open_engine(model, 4);
        CHECK(alia_engine_start(engine) == ALIA_OK);
        CHECK(alia_engine_submit(engine, prompt, prompt_count, NULL, &request) == ALIA_OK);
        CHECK(alia_model_free(model) == ALIA_OK && alia_engine_free(engine) == ALIA_OK);
        return;
    }
    CHECK(alia_model_free(model) == ALIA_OK);
}

static void test_loads(long loads) {
    for (int i = 0; i < 50; ++i) load_once(i);
    const process_state before = look();
    for (long i = 0; i < loads && !failures; ++i) load_once((int)(i % 1000));
    char what[64];
    snprintf(what, sizeof what, "%ld loads and unloads", loads);
    CHECK(!grew(what, before, 64 << 10));
}

/* ---- Two engines on one model, handles of all threads ---- */

static alia_model* one_model;
static void* generate_again(void* argument) {
    for (int i = 0; i < *(int*)argument && !failures; ++i) check_engine(one_model);
    return NULL;
}
static void* open_and_free(void* argument) {
    alia_model_options o = ALIA_MODEL_OPTIONS_INIT;
    o.load = ALIA_LOAD_HEADERS;
    for (int i = 0; i < *(int*)argument && !failures; ++i) {
        alia_model* model = NULL;
        int32_t token;
        CHECK(alia_model_open(path, strlen(path), &o, &model) == ALIA_OK);
        for (int k = 0; k < 100; ++k) CHECK(alia_model_bos(k % 2 ? model : one_model, &token) == ALIA_OK);
        CHECK(alia_model_free(model) == ALIA_OK && alia_model_bos(model, &token) == ALIA_BAD_HANDLE);
    }
    return NULL;
}

static void test_threads(int turns) {
    pthread_t threads[4];
    one_model = open_model();
    process_state before = {0, 0, 0, 0};
    for (int warm = 0; warm < 2; ++warm) {
        for (int i = 0; i < 4; ++i)
            CHECK(pthread_create(&threads[i], NULL, i < 2 ? generate_again : open_and_free, &turns) == 0);
        for (int i = 0; i < 4; ++i) pthread_join(threads[i], NULL);
        if (!warm) before = look();
    }
    CHECK(!grew("two engines and two loaders at once", before, 1 << 20));
    CHECK(alia_model_free(one_model) == ALIA_OK);
}

int main(int argc, char** argv) {
    if (argc != 2) return 2;
    path = argv[1];
    const long loads = from_environment("ALIA_LOOPS", 200);
    alia_model* model = open_model();
    alia_engine* engine = open_engine(model, 4);
    generate(engine, expected);
    CHECK(alia_engine_free(engine) == ALIA_OK && alia_model_free(model) == ALIA_OK);
    test_loads(loads);
    test_threads((int)(loads / 10 + 1));
    printf("%s\n", failures ? "failed" : "all passed");
    return failures != 0;
}
