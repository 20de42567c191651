/* Many clients of one engine: each request gets one finished event, cancelled or not, and nothing grows. Usage:
 * capi_load MODEL. The environment: ALIA_LOAD_REQUESTS (1,000 without it), ALIA_TEST_SEED. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "tests/capi.h"
#include "tests/process.h"

enum { clients = 64 };
static alia_engine* engine;
static atomic_long left, finished, cancelled;
static long wanted, first; /* requests of this round; the number before its first */
static atomic_uchar* seen; /* finished events of each request of the round */
static uint64_t seed;

static uint64_t next_random(uint64_t* state) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state >> 33;
}

static void* submit_some(void* argument) {
    uint64_t state = seed + (uintptr_t)argument, request, last = 0;
    while (left-- > 0 && !failures) {
        alia_request_options o = ALIA_REQUEST_OPTIONS_INIT;
        o.max_tokens = (int64_t)(next_random(&state) % 12), o.priority = (int32_t)(next_random(&state) % 3);
        o.temperature = 1, o.seed = next_random(&state), o.flags = ALIA_REQUEST_IGNORE_EOS;
        const uint64_t n = 1 + next_random(&state) % prompt_count;
        alia_status s;
        while ((s = alia_engine_submit(engine, prompt, n, &o, &request)) == ALIA_LIMIT) usleep(200);
        CHECK(s == ALIA_OK);
        const uint64_t other = next_random(&state) % 2 ? request : last; /* running, waiting, or over */
        if (next_random(&state) % 4 == 0) {
            s = alia_engine_cancel(engine, other);
            CHECK(s == ALIA_OK || s == ALIA_NOT_FOUND);
            cancelled += s == ALIA_OK;
        }
        last = request;
    }
    return NULL;
}

/* Takes events until each request of the round is finished; several of these take at once. */
static void* take_all(void* argument) {
    const int background = *(int*)argument;
    alia_event events[32];
    while (finished < wanted && !failures) {
        uint32_t count = 0;
        for (int i = 0; i < 32; ++i) events[i] = (alia_event)ALIA_EVENT_INIT;
        CHECK((background ? alia_engine_next(engine, events, 32, 50, &count)
                          : alia_engine_step(engine, events, 32, &count)) == ALIA_OK);
        for (uint32_t i = 0; i < count; ++i) {
            if (events[i].kind != ALIA_EVENT_FINISHED) continue;
            const long at = (long)events[i].request - first - 1;
            CHECK(at >= 0 && at < wanted && seen[at]++ == 0);
            CHECK(events[i].finish == ALIA_FINISH_LENGTH || events[i].finish == ALIA_FINISH_CANCELLED);
            ++finished;
        }
    }
    return NULL;
}

static void round_of(long requests, int background) {
    pthread_t threads[clients], takers[2];
    left = requests;
    wanted = requests;
    finished = 0;
    seen = calloc((size_t)requests, sizeof *seen);
    if (background) CHECK(alia_engine_start(engine) == ALIA_OK);
    for (uintptr_t i = 0; i < clients; ++i) CHECK(!pthread_create(&threads[i], NULL, submit_some, (void*)i));
    for (int i = 0; i < 2; ++i) CHECK(!pthread_create(&takers[i], NULL, take_all, &background));
    for (int i = 0; i < clients; ++i) pthread_join(threads[i], NULL);
    for (int i = 0; i < 2; ++i) pthread_join(takers[i], NULL);
    int32_t idle = 0;
    CHECK(alia_engine_idle(engine, &idle) == ALIA_OK && idle == 1);
    if (background) CHECK(alia_engine_stop(engine) == ALIA_OK);
    for (long i = 0; i < requests; ++i) CHECK(seen[i] == 1);
    free((void*)seen);
    first += requests;
}

int main(int argc, char** argv) {
    if (argc != 2) return 2;
    path = argv[1];
    const long requests = from_environment("ALIA_LOAD_REQUESTS", 1000);
    seed = (uint64_t)from_environment("ALIA_TEST_SEED", getpid());
    printf("ALIA_TEST_SEED=%llu\n", (unsigned long long)seed);
    alia_model* model = open_model();
    alia_engine_options o = ALIA_ENGINE_OPTIONS_INIT;
    o.context = 64, o.positions = 512, o.sequences = 8, o.chunk = 32, o.queue = 1000;
    CHECK(alia_engine_open(model, &o, &engine) == ALIA_OK);
    const long round = requests < 500 ? requests : 500;
    for (int i = 0; i < 2; ++i) round_of(round, i == 0);
    const process_state before = look();
    for (long done = 0, i = 0; done < requests && !failures; done += round, ++i) round_of(round, i % 4 != 3);
    char what[80];
    snprintf(what, sizeof what, "%ld requests of %d threads, %ld cancelled", requests, clients, (long)cancelled);
    /* 64 threads' arenas and caches differ from round to round. */
    CHECK(!grew(what, before, 4 << 20));
    CHECK(alia_engine_free(engine) == ALIA_OK && alia_model_free(model) == ALIA_OK);
    printf("%s\n", failures ? "failed" : "all passed");
    return failures != 0;
}
