// The file of a batch's results: JSON Lines that grow at the end, whatever interrupts them.
#pragma once
#include <chrono>
#include <cstdint>
#include <map>
#include <string>

namespace cli {

class BatchResults {
  public:
    struct Line {
        std::string input;  // the fingerprint of what it answers
        bool failed = false;
    };

    // Opens or makes it, and reads what is there: a last line without its end, which an interruption left, is taken
    // off. Throws Failure where another process writes it, or where a line is no result.
    explicit BatchResults(std::string path);
    ~BatchResults();
    BatchResults(const BatchResults&) = delete;
    BatchResults& operator=(const BatchResults&) = delete;

    const std::map<int64_t, Line>& done() const { return lines; }  // by the input's line, from 1

    // The line's result: `members` is the inside of a JSON object. Its bytes are the system's when this returns, and on
    // the disk a second later at most, or with sync().
    void append(int64_t line, const std::string& input, bool failed, const std::string& members);
    void sync();

  private:
    [[noreturn]] void fail() const;
    void read();

    std::string path;
    int file = -1;
    std::map<int64_t, Line> lines;
    bool synced = true;
    std::chrono::steady_clock::time_point next_sync{};
};

// The fingerprint of a line under the settings that hold for all.
std::string fingerprint(const std::string& settings, std::string_view line);

}  // namespace cli
