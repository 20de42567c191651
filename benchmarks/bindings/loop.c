/* loop MODEL TOKENS: microseconds a token of one request, through the C interface alone. bindings.py compares it with
 * the same loop of the bindings. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "capi/alia.h"

static void check(alia_status status) {
    if (status == ALIA_OK) return;
    fprintf(stderr, "loop: %s\n", alia_error_message());
    exit(1);
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Seconds of a request whose text is gathered. */
static double answer(alia_engine* engine, int64_t tokens) {
    const int32_t prompt[] = {5, 6, 7};
    char* text = malloc((size_t)tokens * 64);
    size_t length = 0;
    if (!text) exit(1);
    alia_request_options options = ALIA_REQUEST_OPTIONS_INIT;
    options.flags = ALIA_REQUEST_IGNORE_EOS, options.max_tokens = tokens, options.temperature = 0;
    alia_event events[32];
    for (int i = 0; i < 32; ++i) events[i] = (alia_event)ALIA_EVENT_INIT;
    const double start = now();
    uint64_t request;
    check(alia_engine_submit(engine, prompt, 3, &options, &request));
    for (int over = 0; !over;) {
        uint32_t count = 0;
        check(alia_engine_step(engine, events, 32, &count));
        for (uint32_t i = 0; i < count; ++i) {
            const size_t room = (size_t)tokens * 64 - length;
            const size_t n = events[i].text_length < room ? (size_t)events[i].text_length : room;
            if (n > 0) memcpy(text + length, events[i].text, n);
            length += n;
            over |= events[i].kind == ALIA_EVENT_FINISHED;
        }
    }
    const double seconds = now() - start;
    free(text);
    return seconds;
}

int main(int argc, char** argv) {
    if (argc != 3) return fprintf(stderr, "usage: loop MODEL TOKENS\n"), 2;
    const int64_t tokens = atoll(argv[2]);
    alia_model_options options = ALIA_MODEL_OPTIONS_INIT;
    options.threads = 1;
    alia_model* model;
    check(alia_model_open(argv[1], strlen(argv[1]), &options, &model));
    alia_engine_options size = ALIA_ENGINE_OPTIONS_INIT;
    size.sequences = 1, size.context = tokens + 8;
    alia_engine* engine;
    check(alia_engine_open(model, &size, &engine));
    answer(engine, tokens);
    double best = answer(engine, tokens);
    for (int i = 0; i < 4; ++i) {
        const double seconds = answer(engine, tokens);
        if (seconds < best) best = seconds;
    }
    printf("%.4f\n", 1e6 * best / (double)tokens);
    alia_engine_free(engine);
    alia_model_free(model);
    return 0;
}
