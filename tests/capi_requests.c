/* Requests through the C interface: what they give, wrong ones, cancelling, threads, and fork.
 * Usage: capi_requests MODEL. */
#define _POSIX_C_SOURCE 200809L
#include <fenv.h>
#include <math.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/capi.h"

typedef struct {
    int32_t tokens[64];
    int count, finish, logit_events;
    int64_t rows, prompt_tokens, generated;
    float sum;
    uint64_t digest; /* of the logits' bits */
} answer;

static answer generate(alia_engine* engine, const alia_request_options* options, uint32_t capacity) {
    answer a = {.finish = ALIA_FINISH_NONE};
    uint64_t request = 0;
    CHECK(alia_engine_submit(engine, prompt, prompt_count, options, &request) == ALIA_OK && request > 0);
    while (a.finish == ALIA_FINISH_NONE && !failures) {
        alia_event events[3] = {ALIA_EVENT_INIT, ALIA_EVENT_INIT, ALIA_EVENT_INIT};
        uint32_t count = 0;
        CHECK(alia_engine_step(engine, events, capacity, &count) == ALIA_OK && count <= capacity);
        for (uint32_t i = 0; i < count; ++i) {
            const alia_event* e = &events[i];
            CHECK(e->request == request && e->size == sizeof *e);
            if (e->kind == ALIA_EVENT_TOKEN) {
                CHECK(e->position == prompt_count + a.count);
                a.tokens[a.count++] = e->token;
            } else if (e->kind == ALIA_EVENT_LOGITS) {
                CHECK(e->position == a.rows && e->rows > 0 && e->columns >= 16);
                for (int64_t j = 0; j < e->rows * e->columns; ++j) {
                    uint32_t bits;
                    memcpy(&bits, &e->values[j], sizeof bits);
                    a.digest = a.digest * 31 + bits;
                    a.sum += fabsf(e->values[j]);
                }
                a.rows += e->rows;
                ++a.logit_events;
            } else {
                CHECK(e->kind == ALIA_EVENT_FINISHED);
                a.finish = e->finish, a.prompt_tokens = e->prompt_tokens, a.generated = e->generated_tokens;
            }
        }
    }
    return a;
}

static int same(answer a, answer b) {
    return a.count == b.count && memcmp(a.tokens, b.tokens, sizeof *a.tokens * (size_t)a.count) == 0 &&
           a.finish == b.finish;
}

static void test_generation(void) {
    alia_model* model = open_model();
    alia_engine* engine = open_engine(model, 3);
    alia_request_options o = ALIA_REQUEST_OPTIONS_INIT;
    o.max_tokens = 10, o.temperature = 0, o.flags = ALIA_REQUEST_IGNORE_EOS;
    answer first = generate(engine, &o, 3);
    CHECK(first.count == 10 && first.finish == ALIA_FINISH_LENGTH);
    CHECK(first.prompt_tokens == prompt_count && first.generated == 10);
    CHECK(same(first, generate(engine, &o, 1)));

    alia_engine* other = open_engine(model, 64);
    CHECK(same(first, generate(other, &o, 3)));
    CHECK(alia_engine_free(other) == ALIA_OK);

    alia_request_options until = o;
    until.stop = &first.tokens[4], until.stop_count = 1;
    answer stopped = generate(engine, &until, 3);
    CHECK(stopped.finish == ALIA_FINISH_STOP && stopped.count <= 5 &&
          stopped.tokens[stopped.count - 1] == first.tokens[4]);

    const float away = -INFINITY;
    alia_request_options biased = o;
    biased.bias_token = &first.tokens[0], biased.bias = &away, biased.bias_count = 1, biased.max_tokens = 1;
    CHECK(generate(engine, &biased, 3).tokens[0] != first.tokens[0]);

    alia_request_options logits = o;
    logits.flags |= ALIA_REQUEST_PROMPT_LOGITS, logits.max_tokens = 0;
    answer forced = generate(engine, &logits, 3);
    CHECK(forced.rows == prompt_count && forced.count == 0 && forced.sum > 0 && isfinite(forced.sum));

    o.max_tokens = -1;
    answer full = generate(engine, &o, 2);
    CHECK(full.finish == ALIA_FINISH_CONTEXT && full.generated + prompt_count >= 64);

    o.max_tokens = 10, o.temperature = 1, o.seed = 3;
    CHECK(same(generate(engine, &o, 3), generate(engine, &o, 3)));
    int32_t idle = 0;
    CHECK(alia_engine_idle(engine, &idle) == ALIA_OK && idle == 1);
    CHECK(alia_engine_free(engine) == ALIA_OK && alia_model_free(model) == ALIA_OK);
}

/* How the calling thread rounds makes no difference, and stays. */
static void test_rounding(void) {
    static const int modes[] = {FE_TONEAREST, FE_UPWARD, FE_TOWARDZERO};
    alia_request_options o = ALIA_REQUEST_OPTIONS_INIT;
    o.max_tokens = 0, o.flags = ALIA_REQUEST_PROMPT_LOGITS;
    uint64_t digest = 0;
    for (int i = 0; i < 3; ++i) {
        CHECK(fesetround(modes[i]) == 0);
        alia_model* model = open_model();
        alia_engine* engine = open_engine(model, 3);
        const answer a = generate(engine, &o, 3);
        CHECK(fegetround() == modes[i]);
        CHECK(alia_engine_free(engine) == ALIA_OK && alia_model_free(model) == ALIA_OK);
        CHECK(a.rows == prompt_count && (i == 0 || a.digest == digest));
        digest = a.digest;
    }
    CHECK(fesetround(FE_TONEAREST) == 0);
}

static void test_requests(void) {
    alia_model* model = open_model();
    alia_engine* engine = open_engine(model, 4);
    alia_event event = ALIA_EVENT_INIT;
    uint64_t request = 77;
    uint32_t count;
    int32_t many[80] = {0}, outside = INT32_MAX;
    BAD(alia_engine_submit(engine, NULL, 1, NULL, &request), "ids");
    BAD(alia_engine_submit(engine, prompt, UINT64_MAX, NULL, &request), "ids");
    BAD(alia_engine_submit(engine, prompt, 1, NULL, NULL), "request");
    CHECK(alia_engine_submit(engine, prompt, 0, NULL, &request) == ALIA_INVALID_ARGUMENT);
    CHECK(alia_engine_submit(engine, &outside, 1, NULL, &request) == ALIA_INVALID_ARGUMENT);
    CHECK(alia_engine_submit(engine, many, 80, NULL, &request) == ALIA_CONTEXT_FULL);
    alia_request_options o = ALIA_REQUEST_OPTIONS_INIT;
#define WRONG(field, value)                                               \
    o = (alia_request_options)ALIA_REQUEST_OPTIONS_INIT, o.field = value, \
    CHECK(alia_engine_submit(engine, prompt, 1, &o, &request) == ALIA_INVALID_ARGUMENT)
    WRONG(temperature, NAN);
    WRONG(temperature, -0.5);
    WRONG(temperature, INFINITY);
    WRONG(top_p, 2);
    WRONG(min_p, -3);
    WRONG(repetition_penalty, NAN);
    WRONG(frequency_penalty, NAN);
    WRONG(presence_penalty, INFINITY);
    WRONG(top_k, -2);
    WRONG(max_tokens, -2);
    WRONG(flags, 1u << 31);
    WRONG(stop_count, 1);
    WRONG(bias_count, 1);
    WRONG(bias_count, UINT64_MAX);
    CHECK(request == 77);
    BAD(alia_engine_step(engine, NULL, 1, &count), "events");
    BAD(alia_engine_step(engine, &event, 0, &count), "capacity");
    BAD(alia_engine_step(engine, &event, 1, NULL), "count");
    BAD(alia_engine_idle(engine, NULL), "idle");
    FAILS(alia_engine_cancel(engine, 12345), ALIA_NOT_FOUND, "request");
    CHECK(alia_engine_step(engine, &event, 1, &count) == ALIA_OK && count == 0);

    /* Cancelled while waiting and while running; then not known any more. */
    uint64_t a, b;
    CHECK(alia_engine_submit(engine, prompt, prompt_count, NULL, &a) == ALIA_OK);
    CHECK(alia_engine_submit(engine, prompt, prompt_count, NULL, &b) == ALIA_OK && b == a + 1);
    CHECK(alia_engine_step(engine, &event, 1, &count) == ALIA_OK);
    CHECK(alia_engine_cancel(engine, b) == ALIA_OK && alia_engine_cancel(engine, a) == ALIA_OK);
    int finished = 0;
    for (int i = 0; i < 4; ++i) {
        CHECK(alia_engine_step(engine, &event, 1, &count) == ALIA_OK);
        if (count && event.kind == ALIA_EVENT_FINISHED) finished += event.finish == ALIA_FINISH_CANCELLED;
    }
    CHECK(finished == 2 && alia_engine_cancel(engine, a) == ALIA_NOT_FOUND);
    CHECK(alia_engine_free(engine) == ALIA_OK && alia_model_free(model) == ALIA_OK);
}

static void* step_until_freed(void* engine) {
    alia_event event = ALIA_EVENT_INIT;
    uint32_t count;
    alia_status status;
    while ((status = alia_engine_step(engine, &event, 1, &count)) == ALIA_OK) {}
    return (void*)(intptr_t)status;
}

static void test_threads(void) {
    alia_model* model = open_model();
    for (int round = 0; round < 20; ++round) {
        alia_engine* engine = open_engine(model, 1);
        pthread_t threads[2];
        uint64_t request;
        CHECK(alia_engine_submit(engine, prompt, prompt_count, NULL, &request) == ALIA_OK);
        for (int i = 0; i < 2; ++i) pthread_create(&threads[i], NULL, step_until_freed, engine);
        alia_status status = alia_engine_cancel(engine, request);
        CHECK(status == ALIA_OK || status == ALIA_NOT_FOUND);
        CHECK(alia_engine_free(engine) == ALIA_OK);
        for (int i = 0; i < 2; ++i) {
            void* last;
            pthread_join(threads[i], &last);
            CHECK((intptr_t)last == ALIA_BAD_HANDLE);
        }
    }
    CHECK(alia_model_free(model) == ALIA_OK);
}

static void test_fork(void) {
    alia_model* model = open_model();
    alia_engine* engine = open_engine(model, 4);
    const pid_t child = fork();
    if (child == 0) {
        failures = 0;
        alia_event event = ALIA_EVENT_INIT;
        alia_engine* e;
        uint64_t n;
        uint32_t count;
        int32_t id;
        char* text;
        FAILS(alia_engine_submit(engine, prompt, 1, NULL, &n), ALIA_BAD_HANDLE, "engine");
        FAILS(alia_engine_step(engine, &event, 1, &count), ALIA_BAD_HANDLE, "engine");
        FAILS(alia_engine_cancel(engine, 1), ALIA_BAD_HANDLE, "engine");
        FAILS(alia_engine_idle(engine, &id), ALIA_BAD_HANDLE, "engine");
        FAILS(alia_engine_open(model, NULL, &e), ALIA_BAD_HANDLE, "model");
        CHECK(alia_model_info(model, &text, &n) == ALIA_OK);
        alia_text_free(text);
        CHECK(alia_engine_free(engine) == ALIA_OK && alia_model_free(model) == ALIA_OK);
        _exit(failures != 0);
    }
    int status = 1;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    int32_t idle = 0;
    CHECK(alia_engine_idle(engine, &idle) == ALIA_OK && idle == 1);
    CHECK(alia_engine_free(engine) == ALIA_OK && alia_model_free(model) == ALIA_OK);
}

int main(int argc, char** argv) {
    if (argc != 2) return 2;
    path = argv[1];
    test_generation();
    test_rounding();
    test_requests();
    test_threads();
    test_fork();
    printf("%s\n", failures ? "failed" : "all passed");
    return failures != 0;
}
