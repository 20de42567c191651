// Stop texts.
#include "engine/stop_texts.h"

#include <algorithm>

namespace alia {

void StopTexts::reserve() {
    size_t longest = 0;
    for (const std::string& text : texts) longest = std::max(longest, text.size());
    held.reserve(longest + 256);
}

bool StopTexts::append(std::string_view text, std::string& shown) {
    if (texts.empty()) {
        shown += text;
        return false;
    }
    held += text;
    size_t found = std::string::npos;
    for (const std::string& stop : texts) found = std::min(found, held.find(stop));
    if (found != std::string::npos) {
        shown.append(held, 0, found);
        held.clear();
        return true;
    }
    size_t keep = 0;  // bytes at the end that some text starts with
    for (const std::string& stop : texts) {
        size_t n = std::min(held.size(), stop.size() - 1);
        while (n > keep && held.compare(held.size() - n, n, stop, 0, n) != 0) --n;
        keep = std::max(keep, n);
    }
    shown.append(held, 0, held.size() - keep);
    held.erase(0, held.size() - keep);
    return false;
}

}  // namespace alia
