// Lines of JSON with what a tokenizer file's own software says, and the files beside them.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "engine/tokenizer.h"

namespace alia::test {

inline std::string tokenizer_file(const std::string& name) { return TEST_DATA "/tokenizer/" + name; }

inline std::vector<int32_t> ids_of(const Json* list) {
    std::vector<int32_t> ids;
    if (!list) return ids;
    for (const Json& id : list->items()) ids.push_back(int32_t(id.integer));
    return ids;
}

inline void each_line(std::string_view text, const std::function<void(const Json&)>& line) {
    for (size_t at = 0; at < text.size();) {
        const size_t end = std::min(text.find('\n', at), text.size());
        line(JsonDocument::parse(text.substr(at, end - at), "case").root());
        at = end + 1;
    }
}

inline std::string streamed(const Tokenizer& tokenizer, const std::vector<int32_t>& ids) {
    TextStream stream(tokenizer);
    std::string text;
    for (const int32_t id : ids) text += stream.append(id);
    return text + stream.finish();
}

// Opens `bytes` whole, cut everywhere, and with each bit flipped: a typed error, or a tokenizer that works.
inline int sweep(std::string bytes, const std::function<std::shared_ptr<Tokenizer>(std::string_view)>& read) {
    int loaded = 0;
    const auto attempt = [&](std::string_view text) {
        try {
            const auto t = read(std::string(text));
            const auto ids = t->encode("el perro\n<|im_end|> \xE6\x97\xA5 casa\xFF  e\xCC\x81");
            t->decode(ids);
            ++loaded;
        } catch (const Error&) {}
    };
    for (size_t n = 0; n <= bytes.size(); ++n) attempt(std::string_view(bytes).substr(0, n));
    for (size_t bit = 0; bit < bytes.size() * 8; ++bit) {
        bytes[bit / 8] = char(bytes[bit / 8] ^ 1 << bit % 8);
        attempt(bytes);
        bytes[bit / 8] = char(bytes[bit / 8] ^ 1 << bit % 8);
    }
    return loaded;
}

}  // namespace alia::test
