/* The main function of the program that tests/calls.py writes: calls MODEL. The environment: ALIA_TEST_SEED, ALIA_CALLS
 * (how many, 20,000 without it), ALIA_CALLS_TRACE (each call is told before it is made). */
#pragma once
#include "tests/calls.h"

#ifdef CALLS_WRAPPED
/* Linked with --wrap: what the library's objects must not reach. `abort` under its own name is for the shared libraries
 * below, libstdc++'s std::terminate among them. */
static _Noreturn void reached(const char* what) {
    fprintf(stderr, "%s was reached: %s(%s)\n", what, function ? function : "", described);
    _Exit(99);
}
#define REACHED(name)          \
    _Noreturn void name(void); \
    _Noreturn void name(void) { reached(#name); }
REACHED(abort)
REACHED(__wrap_abort)
REACHED(__wrap_exit)
REACHED(__wrap__exit)
REACHED(__wrap___assert_fail)
REACHED(__wrap___cxa_pure_virtual)
REACHED(__wrap__ZSt9terminatev)
#endif

int main(int argc, char** argv) {
    if (argc != 2) return 2;
    path = argv[1];
    set_up();
    const char* wanted = getenv("ALIA_CALLS");
    const long total = wanted ? atol(wanted) : 20000;
    while (call_number < total) {
        const uint64_t i = below(function_count);
        begin(counts[i].name);
        calls[i]();
        end();
        if (++call_number % 250 == 0) settle();
    }
    settle();
    long good = 0, failed = 0;
    for (int i = 0; i < function_count; ++i) {
        const count* c = &counts[i];
        good += c->good, failed += c->can_fail ? c->calls - c->good : 0;
        const int both = !c->can_fail || (c->good < c->calls && (c->good || c->may_always_fail));
        if (both && c->calls > total / function_count / 2) continue;
        ++failures;
        fprintf(stderr, "%s: %ld calls, %ld of them succeeded\n", c->name, c->calls, c->good);
    }
    tear_down();
    printf("%ld calls of %d functions: %ld succeeded, %ld failed\n%s\n", call_number, function_count, good, failed,
           failures ? "failed" : "all passed");
    return failures != 0;
}
