// Reference logits on disk: what an earlier run of `alia perplexity` thought of the same tokens. docs/quality.md has
// the format and how exact it is.
#pragma once
#include <cstdint>
#include <vector>

#include "bindings/cli/client.h"
#include "bindings/cli/output_file.h"

namespace cli {

// One position: `below[i]` is how far the logit of token i lies below the largest, at most 32.
struct ReferenceRow {
    int32_t top = 0;  // the best token
    std::vector<float> below;
};

class LogitsWriter {
  public:
    LogitsWriter(const std::string& path, int64_t vocabulary, int64_t chunks);

    // A chunk's tokens; then a row for each of them but the last.
    void chunk(const std::vector<int32_t>& ids);
    void row(const float* logits, int32_t top);
    void finish();

  private:
    OutputFile file;
    std::vector<uint16_t> coarse;
    std::vector<uint8_t> fine;
};

// Reads in the order of writing. What does not fit the model and the tokens of this run is a Failure that names the
// file and the byte; no number from the file decides how much memory is taken.
class LogitsReader {
  public:
    LogitsReader(const std::string& path, int64_t vocabulary, int64_t chunks);

    void chunk(const std::vector<int32_t>& ids);
    void row(ReferenceRow&);
    void finish();  // nothing follows

  private:
    void get(void* bytes, size_t size);
    // What is wrong, and how many bytes ago it was read.
    [[noreturn]] void fail(const std::string& message, size_t ago = 0) const;

    std::string path;
    std::unique_ptr<std::FILE, Free<std::FILE, std::fclose>> file;
    uint64_t offset = 0;
    std::vector<uint16_t> coarse;
    std::vector<uint8_t> fine;
};

}  // namespace cli
