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
        std::string input, options, model;  // fingerprints: of what it answers, and of what answered it
        bool failed = false;
    };

    // Opens or makes it, and reads what is there: a last line without its end, which an interruption left, is taken
    // off. Throws Failure where another process writes it, or where a line is no result.
    explicit BatchResults(std::string path);
    ~BatchResults();
    BatchResults(const BatchResults&) = delete;
    BatchResults& operator=(const BatchResults&) = delete;

    const std::map<int64_t, Line>& done() const { return lines; }  // by the input's line, from 1

    // The result of the input's line `number`: `members` is the inside of a JSON object. Its bytes are the system's
    // when this returns, and on the disk a second later at most, or with sync().
    void append(int64_t number, const Line& line, const std::string& members);
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

std::string fingerprint(std::string_view bytes);

}  // namespace cli
