// Normalisation, with a map back to the original bytes where someone needs it.
#include "engine/normalizer.h"

#include "engine/characters.h"
#include "engine/utf8.h"

namespace alia {
namespace {

// One step's result, and where its bytes came from if `before` (the map of the step's input) is given.
struct Rewriter {
    const std::vector<TextRange>* before;
    std::string text = {};
    std::vector<TextRange> origins = {};

    // Bytes that stand for the input's [begin, end).
    void put(std::string_view bytes, size_t begin, size_t end) {
        text += bytes;
        if (!before || before->empty()) return;
        const size_t start = (*before)[std::min(begin, before->size() - 1)].begin;
        origins.insert(origins.end(), bytes.size(), {start, begin < end ? (*before)[end - 1].end : start});
    }
    void copy(std::string_view input, size_t begin, size_t end) {
        text += input.substr(begin, end - begin);
        if (before) origins.insert(origins.end(), before->begin() + ptrdiff_t(begin), before->begin() + ptrdiff_t(end));
    }
};

void replace(Rewriter& out, std::string_view input, const Normalizer::Step& step) {
    for (size_t at = 0;;) {
        const size_t found = input.find(step.from, at);
        out.copy(input, at, std::min(found, input.size()));
        if (found == input.npos) return;
        out.put(step.to, found, found + step.from.size());
        at = found + step.from.size();
    }
}

// ASCII never composes with what is before it, so the text is composed in stretches that begin with it.
void compose(Rewriter& out, std::string_view input) {
    if (!out.before) return out.put(nfc(input), 0, input.size());
    for (size_t at = 0; at < input.size();) {
        size_t end = at + 1;
        while (end < input.size() && uint8_t(input[end]) >= 0x80) ++end;
        out.put(nfc(input.substr(at, end - at)), at, end);
        at = end;
    }
}

}  // namespace

std::string Normalizer::apply(std::string_view text, std::vector<TextRange>* origins) const {
    std::string current(text);
    if (origins) {
        origins->resize(text.size());
        for (size_t i = 0; i < text.size(); ++i) (*origins)[i] = {i, i + 1};
    }
    for (const Step& step : steps) {
        if (current.empty()) break;
        Rewriter out{origins};
        if (step.kind == Step::Kind::prepend) out.put(step.to, 0, 0), out.copy(current, 0, current.size());
        if (step.kind == Step::Kind::replace) replace(out, current, step);
        if (step.kind == Step::Kind::nfc) compose(out, current);
        current = std::move(out.text);
        if (origins) *origins = std::move(out.origins);
    }
    return current;
}

}  // namespace alia
