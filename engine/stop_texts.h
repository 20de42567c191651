// Finds the texts that end a request in text that comes bit by bit, and holds back what may be the start of one.
#pragma once
#include <span>
#include <string>
#include <string_view>

namespace alia {

class StopTexts {
  public:
    // Borrowed; none is empty.
    explicit StopTexts(std::span<const std::string> texts) : texts(texts) {}

    bool none() const { return texts.empty(); }
    void reserve();  // memory for what is held back
    // Adds to `shown` what can be shown now. True where a text was found: what came before it has then been shown, and
    // the rest is forgotten. Where several end at once, the one that starts first counts.
    bool append(std::string_view text, std::string& shown);
    // What was held back.
    std::string_view finish() const { return held; }

  private:
    std::span<const std::string> texts;
    std::string held;
};

}  // namespace alia
