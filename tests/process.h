/* What Linux says of this process, for tests that nothing grows. */
#pragma once
#include <dirent.h>
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { own_memory = 0 }; /* a sanitizer keeps what was freed, and looks for leaks itself */
#else
enum { own_memory = 1 };
#endif

typedef struct {
    int64_t resident, allocated; /* bytes: of the process; of malloc's blocks in use */
    int64_t files, threads;
} process_state;

static inline int64_t status_number(const char* name) {
    char line[256];
    int64_t number = -1;
    FILE* f = fopen("/proc/self/status", "r");
    if (!f) return -1;
    while (fgets(line, sizeof line, f))
        if (strncmp(line, name, strlen(name)) == 0) number = atoll(line + strlen(name));
    fclose(f);
    return number;
}

static inline process_state look(void) {
    process_state s = {status_number("VmRSS:") * 1024, (int64_t)mallinfo2().uordblks, 0, status_number("Threads:")};
    DIR* d = opendir("/proc/self/fd");
    while (d && readdir(d)) ++s.files;
    if (d) closedir(d);
    return s;
}

/* Files and threads are as many as before. Of memory, malloc keeps some blocks for each thread and arena, which are
 * counted as in use, and pages with holes: so much `slack` is allowed, however long the test was. */
static inline int grew(const char* what, process_state before, int64_t slack) {
    process_state now = look();
    /* A thread that was joined is counted until the system has put it away. */
    for (int i = 0; i < 200 && now.threads > before.threads; ++i) usleep(10000), now = look();
    const int more = now.files > before.files || now.threads > before.threads ||
                     (own_memory && (now.allocated > before.allocated + slack ||
                                     now.resident > before.resident + 2 * slack + (1 << 20)));
    printf("%s: %lld KiB resident (%+lld), %lld KiB allocated (%+lld), %lld files, %lld threads%s\n", what,
           (long long)now.resident >> 10, (long long)(now.resident - before.resident) >> 10,
           (long long)now.allocated >> 10, (long long)(now.allocated - before.allocated) >> 10, (long long)now.files,
           (long long)now.threads, more ? ": GREW" : "");
    fflush(stdout);
    return more;
}

static inline long from_environment(const char* name, long otherwise) {
    const char* value = getenv(name);
    return value ? atol(value) : otherwise;
}
