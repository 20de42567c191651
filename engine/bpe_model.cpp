// Words to tokens: parts between sound cuts, looked up among the words already seen, else merged.
#include "engine/bpe_model.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "engine/utf8.h"

namespace alia {

BpeModel::Work::Work(std::vector<int32_t>& out, size_t text_size) : out(out) {
    if (text_size >= 256) seen.resize(std::bit_ceil(std::min<size_t>(text_size / 8, 8192)));
}

int32_t BpeModel::symbol(char32_t code, std::string_view text, const Vocabulary& vocabulary) const {
    if (code < symbols.size()) return symbols[code];
    const auto id = vocabulary.find(text);
    return id && !vocabulary.special(*id) ? *id : -1;
}

// As Hugging Face's BPE does it, the order of an unknown token pending before byte tokens included.
void BpeModel::append_symbols(std::string_view part, const Vocabulary& vocabulary, Work& work) const {
    bool pending = false;
    const auto flush = [&] {
        if (pending) work.word.push_back(unknown);
        pending = false;
    };
    for (size_t at = 0, length = 1; at < part.size(); at += length) {
        int32_t id;
        if (byte_level) {
            id = bytes[uint8_t(part[at])];
        } else {
            const Utf8Char c = utf8_at(part, at);
            length = c.valid() ? c.length : 1;
            id = c.valid() ? symbol(c.code, part.substr(at, length), vocabulary) : -1;
        }
        if (id >= 0) {
            flush();
            work.word.push_back(id);
            continue;
        }
        const std::string_view character = part.substr(at, length);
        const auto known = [&](char b) { return bytes[uint8_t(b)] >= 0; };
        if (!byte_level && std::all_of(character.begin(), character.end(), known)) {
            for (const char b : character) work.word.push_back(bytes[uint8_t(b)]);
        } else if (unknown >= 0) {
            if (!fuse_unknown) flush();
            pending = true;
        }
    }
    flush();
}

void BpeModel::encode_part(std::string_view part, const Vocabulary& vocabulary, Work& work) const {
    Work::Seen* seen = nullptr;
    if (!work.seen.empty() && part.size() <= sizeof(Work::Seen::text)) {
        seen = &work.seen[hash_bytes(part) & (work.seen.size() - 1)];
        if (seen->length == part.size() && std::memcmp(seen->text, part.data(), part.size()) == 0) {
            work.out.resize(work.out.size() + seen->count);
            std::copy_n(work.out.begin() + seen->at, seen->count, work.out.end() - seen->count);
            return;
        }
    }
    work.word.clear();
    append_symbols(part, vocabulary, work);
    merges.merge(work.word, work.scratch);
    if (seen && work.out.size() <= UINT32_MAX) {
        seen->at = uint32_t(work.out.size());
        seen->count = uint16_t(work.word.size());
        seen->length = uint16_t(part.size());
        std::memcpy(seen->text, part.data(), part.size());
    }
    work.out.insert(work.out.end(), work.word.begin(), work.word.end());
}

void BpeModel::encode(std::string_view word, const Vocabulary& vocabulary, Work& work) const {
    if (word.empty()) return;
    if (ignore_merges) {
        const auto id = byte_level ? vocabulary.find(byte_level_name(word)) : vocabulary.find(word);
        if (id && !vocabulary.special(*id)) return work.out.push_back(*id);
    }
    if (byte_level) return encode_part(word, vocabulary, work);
    size_t begin = 0;
    Utf8Char before;
    for (size_t at = 0; at < word.size();) {
        const Utf8Char c = utf8_at(word, at);
        if (at > begin && c.valid() && cuts.between(before.code, c.code)) {
            // A character that is no token became byte tokens ("<0x0A>"), whose names end so.
            const bool known =
                before.valid() && symbol(before.code, word.substr(at - before.length, before.length), vocabulary) >= 0;
            if (known || (every_byte && cuts.between('>', c.code))) {
                encode_part(word.substr(begin, at - begin), vocabulary, work);
                begin = at;
            }
        }
        before = c.valid() ? c : Utf8Char{};
        at += before.length;
    }
    encode_part(word.substr(begin), vocabulary, work);
}

void BpeModel::collect_symbols(const Vocabulary& vocabulary) {
    symbols.assign(0x10000, -1);
    for (int32_t id = 0; id < vocabulary.size(); ++id) {
        const std::string_view name = vocabulary.name(id);
        if (name.empty() || name.size() > 4 || vocabulary.special(id)) continue;
        const Utf8Char c = utf8_at(name, 0);
        if (c.valid() && c.length == name.size() && c.code < symbols.size()) symbols[c.code] = id;
    }
}

void BpeModel::build_cuts(std::vector<Cuts::Crossing> crossings) {
    every_byte = std::find(bytes.begin(), bytes.end(), -1) == bytes.end();
    for (char32_t code = 0; code < symbols.size(); ++code) {
        if (symbols[code] >= 0) cuts.allow(code);
    }
    cuts.build(std::move(crossings));
}

namespace {

constexpr auto char_of_byte = [] {
    std::array<char32_t, 256> chars{};
    char32_t next = 256;
    for (int b = 0; b < 256; ++b) {
        const bool printable = (b >= '!' && b <= '~') || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
        chars[size_t(b)] = printable ? char32_t(b) : next++;
    }
    return chars;
}();

constexpr auto byte_of_char = [] {
    std::array<int16_t, 0x180> bytes{};
    bytes.fill(-1);
    for (int b = 0; b < 256; ++b) bytes[char_of_byte[size_t(b)]] = int16_t(b);
    return bytes;
}();

}  // namespace

char32_t byte_to_char(uint8_t byte) { return char_of_byte[byte]; }

std::string byte_level_bytes(std::string_view name) {
    std::string result;
    for (size_t at = 0; at < name.size();) {
        const Utf8Char c = utf8_at(name, at);
        if (!c.valid() || c.code >= byte_of_char.size() || byte_of_char[c.code] < 0) return std::string(name);
        result += char(byte_of_char[c.code]);
        at += c.length;
    }
    return result;
}

std::string byte_level_name(std::string_view bytes) {
    std::string name;
    for (const char b : bytes) append_utf8(name, byte_to_char(uint8_t(b)));
    return name;
}

}  // namespace alia
