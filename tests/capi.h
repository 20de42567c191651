/* What the C programs that test the C interface share: checks, and a small model that their only argument names, whose
 * vocabulary has at least 16 tokens. */
#pragma once
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "capi/alia_unstable.h"

static int failures = 0;
static inline void check(int good, const char* file, int line, const char* what) {
    if (good) return;
    ++failures;
    fprintf(stderr, "%s:%d: %s (last error: %s)\n", file, line, what, alia_error_message());
}
#define CHECK(condition) check(condition, __FILE__, __LINE__, #condition)
/* The call fails so, and the error names the argument. */
#define FAILS(call, expected, name)                                                                            \
    check((call) == (expected) && alia_error_status() == (expected) && strcmp(alia_error_item(), name) == 0 && \
              alia_error_message()[0] && alia_error_handle_usable() == 1,                                      \
          __FILE__, __LINE__, #call)
#define BAD(call, name) FAILS(call, ALIA_INVALID_ARGUMENT, name)

static const char* path;
static const int32_t prompt[] = {1, 5, 3, 7, 2, 9, 4, 11};
enum { prompt_count = sizeof prompt / sizeof *prompt };

static inline alia_model* open_model(void) {
    alia_model* model = NULL;
    CHECK(alia_model_open(path, strlen(path), NULL, &model) == ALIA_OK);
    if (!model) exit(1);
    return model;
}

static inline alia_engine* open_engine(alia_model* model, int32_t chunk) {
    alia_engine_options options = ALIA_ENGINE_OPTIONS_INIT;
    alia_engine* engine = NULL;
    options.context = 64;
    options.chunk = chunk;
    CHECK(alia_engine_open(model, &options, &engine) == ALIA_OK);
    if (!engine) exit(1);
    return engine;
}
