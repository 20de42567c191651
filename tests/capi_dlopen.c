/* The library opened and closed again and again by a program that is not linked with it: it goes, and nothing grows.
 * Usage: capi_dlopen LIBRARY MODEL. The environment: ALIA_DLOPENS, how often (30 without it). */
#define _GNU_SOURCE
#include <dlfcn.h>

#include "capi/alia.h"
#include "tests/process.h"

static int fail_at(int line, const char* what) {
    fprintf(stderr, "%s:%d: %s\n", __FILE__, line, what);
    return 1;
}
#define NEED(condition) \
    if (!(condition)) return fail_at(__LINE__, #condition)
#define FIND(name) __typeof__(&name) name##_is = (__typeof__(&name))(uintptr_t)dlsym(library, #name)

/* Loads a model and generates until its end, in the background and without. */
static int use(void* library, const char* path, int background) {
    static const int32_t prompt[] = {1, 5, 3};
    FIND(alia_model_open);
    FIND(alia_model_free);
    FIND(alia_engine_open);
    FIND(alia_engine_free);
    FIND(alia_engine_submit);
    FIND(alia_engine_start);
    FIND(alia_engine_step);
    FIND(alia_engine_next);
    alia_model* model;
    alia_engine* engine;
    alia_engine_options eo = ALIA_ENGINE_OPTIONS_INIT;
    alia_request_options o = ALIA_REQUEST_OPTIONS_INIT;
    alia_event event = ALIA_EVENT_INIT;
    uint64_t request;
    uint32_t count;
    NEED(alia_model_open_is("/none", 5, NULL, &model) == ALIA_NOT_FOUND);
    NEED(alia_model_open_is(path, strlen(path), NULL, &model) == ALIA_OK);
    eo.context = 64, o.max_tokens = 6;
    NEED(alia_engine_open_is(model, &eo, &engine) == ALIA_OK);
    NEED(alia_engine_submit_is(engine, prompt, 3, &o, &request) == ALIA_OK);
    if (background) NEED(alia_engine_start_is(engine) == ALIA_OK);
    while (event.kind != ALIA_EVENT_FINISHED)
        NEED((background ? alia_engine_next_is(engine, &event, 1, 20000, &count)
                         : alia_engine_step_is(engine, &event, 1, &count)) == ALIA_OK);
    NEED(alia_engine_free_is(engine) == ALIA_OK && alia_model_free_is(model) == ALIA_OK);
    return 0;
}

static int open_and_close(const char* file, const char* model, int background) {
    void* library = dlopen(file, RTLD_NOW | RTLD_LOCAL);
    NEED(library);
    NEED(use(library, model, background) == 0);
    NEED(dlclose(library) == 0);
    NEED(!dlopen(file, RTLD_NOW | RTLD_NOLOAD)); /* it is gone */
    return 0;
}

int main(int argc, char** argv) {
    if (argc != 3) return 2;
    const long times = from_environment("ALIA_DLOPENS", 30);
    for (int i = 0; i < 5; ++i) NEED(open_and_close(argv[1], argv[2], i % 2) == 0);
    const process_state before = look();
    for (long i = 0; i < times; ++i) NEED(open_and_close(argv[1], argv[2], (int)(i % 2)) == 0);
    char what[64];
    snprintf(what, sizeof what, "%ld times dlopen and dlclose", times);
    NEED(!grew(what, before, 64 << 10));
    printf("all passed\n");
    return 0;
}
