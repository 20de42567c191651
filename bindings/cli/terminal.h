// What people see while they wait, and Ctrl-C.
#pragma once
#include <chrono>
#include <cstdint>
#include <string>

namespace cli {

// For stderr: escape sequences on a terminal, nothing elsewhere or with NO_COLOR.
const char* dim();
const char* red();
const char* plain();

// "12.3 MiB".
std::string human_bytes(double bytes);

// A bar on stderr that vanishes at the end; nothing where stderr is no terminal.
class ProgressBar {
  public:
    explicit ProgressBar(const char* label);
    ~ProgressBar();
    ProgressBar(const ProgressBar&) = delete;
    ProgressBar& operator=(const ProgressBar&) = delete;
    void show(int64_t done, int64_t total);

  private:
    const char* label;
    bool visible, drawn = false;
    std::chrono::steady_clock::time_point next{};
};

// From now on the first Ctrl-C only sets the flag, and the second ends the program.
void watch_interrupt();
// From now on no Ctrl-C ends the program; forgets the one that was seen.
void watch_interrupts();
bool interrupted();

}  // namespace cli
