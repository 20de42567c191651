/* The C interface and the process around it: forks while other threads open, use and free handles, and exits in the
 * middle of a generation. Usage: capi_processes MODEL [WAY], with WAY as one that exits so. */
#define _POSIX_C_SOURCE 200809L
#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/capi.h"

extern char** environ;

/* 0 where the child left by itself with status 0. */
static int status_of(pid_t child) {
    int status = -1;
    return waitpid(child, &status, 0) == child && WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + status;
}

/* ---- Forks ---- */

enum { forks = 200, most_hammers = 3 };
#ifdef __SANITIZE_ADDRESS__
static const int hammers = 0; /* its allocator stays locked in a child where another thread was inside */
#else
static const int hammers = most_hammers;
#endif
static atomic_int stop;
static alia_model* shared_model;

static alia_model* open_headers(void) {
    alia_model_options o = ALIA_MODEL_OPTIONS_INIT;
    alia_model* model = NULL;
    o.load = ALIA_LOAD_HEADERS;
    CHECK(alia_model_open(path, strlen(path), &o, &model) == ALIA_OK);
    return model;
}

/* Most of the time is spent in the table of handles. */
static void* hammer(void* argument) {
    int32_t token;
    (void)argument;
    while (!stop) {
        alia_model* model = open_headers();
        for (int i = 0; i < 2000; ++i) CHECK(alia_model_bos(i % 2 ? shared_model : model, &token) == ALIA_OK);
        CHECK(alia_model_free(model) == ALIA_OK && alia_model_bos(model, &token) == ALIA_BAD_HANDLE);
    }
    return NULL;
}

static void in_child(alia_model* loaded, alia_engine* engine) {
    int32_t token;
    alia_engine* e;
    alarm(20);
    failures = 0;
    for (int i = 0; i < 3; ++i) {
        alia_model* model = open_headers();
        CHECK(alia_model_bos(model, &token) == ALIA_OK);
        CHECK(alia_model_free(model) == ALIA_OK);
        FAILS(alia_model_free(model), ALIA_BAD_HANDLE, "model");
    }
    CHECK(alia_model_bos(shared_model, &token) == ALIA_OK);
    FAILS(alia_engine_open(loaded, NULL, &e), ALIA_BAD_HANDLE, "model");
    FAILS(alia_engine_start(engine), ALIA_BAD_HANDLE, "engine");
    CHECK(alia_engine_free(engine) == ALIA_OK && alia_model_free(loaded) == ALIA_OK);
    CHECK(alia_model_free(shared_model) == ALIA_OK);
    FAILS(alia_model_bos(shared_model, &token), ALIA_BAD_HANDLE, "model");
    _exit(failures != 0);
}

static void test_forks(void) {
    alia_model* loaded = open_model();
    alia_engine* engine = open_engine(loaded, 4);
    pthread_t threads[most_hammers];
    shared_model = open_headers();
    for (int i = 0; i < hammers; ++i) CHECK(pthread_create(&threads[i], NULL, hammer, NULL) == 0);
    for (int i = 0; i < forks && !failures; ++i) {
        const pid_t child = fork();
        if (child == 0) in_child(loaded, engine);
        const int status = status_of(child);
        CHECK(status == 0);
        if (status) fprintf(stderr, "child %d: %d\n", i, status);
    }
    stop = 1;
    for (int i = 0; i < hammers; ++i) pthread_join(threads[i], NULL);

    /* What was forked from goes on. */
    uint64_t request;
    uint32_t count;
    alia_event event = ALIA_EVENT_INIT;
    CHECK(alia_engine_submit(engine, prompt, prompt_count, NULL, &request) == ALIA_OK);
    while (event.kind != ALIA_EVENT_FINISHED && !failures)
        CHECK(alia_engine_step(engine, &event, 1, &count) == ALIA_OK);
    CHECK(event.finish == ALIA_FINISH_STOP || event.finish == ALIA_FINISH_CONTEXT);
    CHECK(alia_engine_free(engine) == ALIA_OK && alia_model_free(loaded) == ALIA_OK);
    CHECK(alia_model_free(shared_model) == ALIA_OK);
}

/* ---- Signals ---- */

/* Only the program's own thread takes signals such as SIGINT, which it may wait for. */
static void test_signals(void) {
    alia_model_options o = ALIA_MODEL_OPTIONS_INIT;
    alia_model* model;
    int own = 0, others = 0;
    o.threads = 3;
    CHECK(alia_model_open(path, strlen(path), &o, &model) == ALIA_OK);
    alia_engine* engine = open_engine(model, 4);
    /* Once the thread that steps has answered, it is no longer being born, which the system does with all blocked. */
    alia_request_options one = ALIA_REQUEST_OPTIONS_INIT;
    alia_event event = ALIA_EVENT_INIT;
    uint64_t request;
    uint32_t count;
    one.max_tokens = 1;
    CHECK(alia_engine_start(engine) == ALIA_OK);
    CHECK(alia_engine_submit(engine, prompt, prompt_count, &one, &request) == ALIA_OK);
    while (event.kind != ALIA_EVENT_FINISHED && !failures)
        CHECK(alia_engine_next(engine, &event, 1, 20000, &count) == ALIA_OK && count == 1);
    DIR* tasks = opendir("/proc/self/task");
    for (struct dirent* task; tasks && (task = readdir(tasks));) {
        char name[300], line[200];
        snprintf(name, sizeof name, "/proc/self/task/%s/status", task->d_name);
        FILE* f = task->d_name[0] == '.' ? NULL : fopen(name, "r");
        while (f && fgets(line, sizeof line, f)) {
            unsigned long long blocked;
            if (sscanf(line, "SigBlk: %llx", &blocked) == 1) *((blocked >> (SIGINT - 1) & 1) ? &others : &own) += 1;
        }
        if (f) fclose(f);
    }
    if (tasks) closedir(tasks);
    CHECK(others == 5 && own == 1); /* two workers of the model, two of the engine, and the one that steps */
    CHECK(alia_engine_free(engine) == ALIA_OK && alia_model_free(model) == ALIA_OK);
}

/* ---- Exits ---- */

/* A generation without end. */
static alia_engine* generating(void) {
    alia_request_options o = ALIA_REQUEST_OPTIONS_INIT;
    alia_engine* engine = open_engine(open_model(), 4);
    uint64_t request;
    o.flags = ALIA_REQUEST_IGNORE_EOS, o.context_first = 2, o.context_last = 20;
    CHECK(alia_engine_submit(engine, prompt, prompt_count, &o, &request) == ALIA_OK);
    return engine;
}

static void take_one(alia_engine* engine) {
    alia_event event = ALIA_EVENT_INIT;
    uint32_t count;
    CHECK(alia_engine_next(engine, &event, 1, -1, &count) == ALIA_OK && count == 1);
}

static atomic_int steps;
static void* step_on(void* engine) {
    alia_event event = ALIA_EVENT_INIT;
    uint32_t count;
    while (alia_engine_step(engine, &event, 1, &count) == ALIA_OK) ++steps;
    return NULL;
}
static void* take_on(void* engine) {
    for (;;) take_one(engine), ++steps;
    return NULL;
}
static void* leave(void* argument) {
    (void)argument;
    exit(failures != 0);
}

static const char* const ways[] = {"return", "exit", "waiting", "stepping", "elsewhere"};
static int leave_so(const char* way) {
    pthread_t thread;
    alia_engine* engine = generating();
    alarm(20);
    if (strcmp(way, "stepping") == 0) {
        CHECK(pthread_create(&thread, NULL, step_on, engine) == 0);
        while (steps < 3) sched_yield();
        exit(failures != 0);
    }
    CHECK(alia_engine_start(engine) == ALIA_OK);
    take_one(engine);
    if (strcmp(way, "exit") == 0) exit(failures != 0);
    if (strcmp(way, "waiting") == 0) {
        CHECK(pthread_create(&thread, NULL, take_on, engine) == 0);
        while (steps < 3) sched_yield();
        exit(failures != 0);
    }
    if (strcmp(way, "elsewhere") == 0) {
        CHECK(pthread_create(&thread, NULL, leave, NULL) == 0);
        for (;;) take_one(engine);
    }
    return failures != 0;
}

static void test_exits(char* program) {
    for (size_t i = 0; i < sizeof ways / sizeof *ways; ++i)
        for (int turn = 0; turn < 4; ++turn) {
            char* arguments[] = {program, (char*)path, (char*)ways[i], NULL};
            pid_t child;
            CHECK(posix_spawn(&child, program, NULL, NULL, arguments, environ) == 0);
            const int status = status_of(child);
            CHECK(status == 0);
            if (status) fprintf(stderr, "%s: %d\n", ways[i], status);
        }
}

int main(int argc, char** argv) {
    if (argc < 2) return 2;
    path = argv[1];
    if (argc > 2) return leave_so(argv[2]);
    test_signals();
    test_exits(argv[0]);
    test_forks();
    printf("%s\n", failures ? "failed" : "all passed");
    return failures != 0;
}
