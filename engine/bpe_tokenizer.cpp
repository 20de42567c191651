// Text to tokens, stage by stage.
#include "engine/bpe_tokenizer.h"

#include "engine/utf8.h"

namespace alia {

struct BpeTokenizer::Call {
    std::string_view text;
    const EncodeOptions& options;
    BpeModel::Work work;

    bool may_be_special(size_t begin, size_t end) const {
        return options.parse_special && !overlaps(options.literal, begin, end);
    }
};

std::vector<int32_t> BpeTokenizer::encode(std::string_view text, const EncodeOptions& options) const {
    check_ranges(options.literal, text.size());
    std::vector<int32_t> ids;
    if (options.add_special) ids = before;
    Call call{text, options, BpeModel::Work(ids, text.size())};
    added.split(
        text, [&](size_t begin, size_t end) { return call.may_be_special(begin, end); },
        [&](size_t begin, size_t end) { encode_stretch(call, begin, end); }, [&](int32_t id) { ids.push_back(id); });
    if (options.add_special) ids.insert(ids.end(), after.begin(), after.end());
    return ids;
}

void BpeTokenizer::encode_stretch(Call& call, size_t begin, size_t end) const {
    const std::string_view stretch = call.text.substr(begin, end - begin);
    if (normalizer.empty() && normalized.empty()) return encode_words(call, stretch, begin == 0);
    const bool map = !normalized.empty() && call.options.parse_special && !call.options.literal.empty();
    std::vector<TextRange> origins;
    const std::string text = normalizer.apply(stretch, map ? &origins : nullptr);
    normalized.split(
        text,
        [&](size_t from, size_t to) {
            if (!map) return call.options.parse_special;
            return call.may_be_special(begin + origins[from].begin, begin + origins[to - 1].end);
        },
        [&](size_t from, size_t to) {
            encode_words(call, std::string_view(text).substr(from, to - from), begin == 0 && from == 0);
        },
        [&](int32_t id) { call.work.out.push_back(id); });
}

void BpeTokenizer::encode_words(Call& call, std::string_view text, bool first) const {
    if (text.empty()) return;
    const bool wanted = prefix.where == Prefix::Where::always || (prefix.where == Prefix::Where::first && first);
    std::string changed;
    if (spaces_to_metaspace) text = changed = replaced(text, " ", metaspace);
    if (wanted && !text.starts_with(prefix.text)) {
        std::string prefixed(prefix.text);
        prefixed += text;
        text = changed = std::move(prefixed);
    }
    split_all(splits, 0, text, [&](std::string_view word) { model.encode(word, vocabulary, call.work); });
}

}  // namespace alia
