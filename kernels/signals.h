// Threads of the library take no signals: the program's own threads, which may wait for one, do.
#pragma once
#include <csignal>

namespace alia {

// While one lives, threads that the calling thread starts are born with signals blocked, but for those of faults and
// profilers.
class NoSignals {
  public:
    NoSignals() {
        sigset_t all;
        sigfillset(&all);
        for (int own : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS, SIGPROF}) sigdelset(&all, own);
        pthread_sigmask(SIG_BLOCK, &all, &before);
    }
    ~NoSignals() { pthread_sigmask(SIG_SETMASK, &before, nullptr); }
    NoSignals(const NoSignals&) = delete;
    NoSignals& operator=(const NoSignals&) = delete;

  private:
    sigset_t before;
};

}  // namespace alia
