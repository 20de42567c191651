// What people see while they wait, and Ctrl-C.
#include "bindings/cli/terminal.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <signal.h>
#include <unistd.h>

namespace cli {
namespace {

volatile sig_atomic_t interrupt_seen = 0;

void see_interrupt(int) { interrupt_seen = 1; }

void watch(int flags) {
    struct sigaction action = {};
    action.sa_handler = see_interrupt;
    action.sa_flags = flags | int(SA_RESTART);  // a write that it meets goes on; `poll` ends at it all the same
    sigaction(SIGINT, &action, nullptr);
}

bool colours() {
    const char* refused = std::getenv("NO_COLOR");
    return isatty(STDERR_FILENO) && !(refused && *refused);
}

}  // namespace

const char* dim() { return colours() ? "\033[2m" : ""; }
const char* red() { return colours() ? "\033[31m" : ""; }
const char* plain() { return colours() ? "\033[0m" : ""; }

std::string human_bytes(double bytes) {
    constexpr const char* units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    int unit = 0;
    while (bytes >= 1024 && unit < 4) bytes /= 1024, ++unit;
    char text[40];
    std::snprintf(text, sizeof text, unit == 0 ? "%.0f %s" : "%.1f %s", bytes, units[unit]);
    return text;
}

ProgressBar::ProgressBar(const char* label) : label(label), visible(isatty(STDERR_FILENO)) {}

ProgressBar::~ProgressBar() {
    if (drawn) std::fputs("\r\033[K", stderr);
}

void ProgressBar::show(int64_t done, int64_t total) {
    const auto now = std::chrono::steady_clock::now();
    if (!visible || total <= 0 || now < next) return;
    next = now + std::chrono::milliseconds(50);
    drawn = true;
    constexpr int width = 30;
    const double share = std::clamp(double(done) / double(total), 0.0, 1.0);
    const std::string filled(size_t(share * width), '#'), rest(width - filled.size(), '.');
    std::fprintf(stderr, "\r\033[K%s%s [%s%s] %3.0f %%%s", dim(), label, filled.c_str(), rest.c_str(), 100 * share,
                 plain());
    std::fflush(stderr);
}

void watch_interrupt() { watch(int(SA_RESETHAND)); }

void watch_interrupts() {
    interrupt_seen = 0;
    watch(0);
}

bool interrupted() { return interrupt_seen != 0; }

}  // namespace cli
