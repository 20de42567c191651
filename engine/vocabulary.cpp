// Tokens by id and by name: one string of all text, one open-addressing table.
#include "engine/vocabulary.h"

#include <cstring>

#include "engine/hash.h"
#include "kernels/error.h"

namespace alia {
namespace {

uint64_t mix(uint64_t a, uint64_t b) {
    const auto product = static_cast<unsigned __int128>(a) * b;
    return uint64_t(product) ^ uint64_t(product >> 64);
}

}  // namespace

uint64_t hash_bytes(std::string_view bytes) {
    constexpr uint64_t odd = 0x9E3779B97F4A7C15;
    const uint64_t key = process_key();
    uint64_t hash = key ^ bytes.size() * odd, word;
    while (bytes.size() >= 8) {
        std::memcpy(&word, bytes.data(), 8);
        hash = mix(hash ^ word, odd);
        bytes.remove_prefix(8);
    }
    word = 0;
    std::memcpy(&word, bytes.data(), bytes.size());
    return mix(hash ^ word, key);
}

void Vocabulary::resize(size_t count) {
    if (count >= size_t(INT32_MAX) / 4) fail(Status::limit, "a vocabulary of %zu tokens", count);
    tokens.resize(count);
    size_t slots = 16;
    while (slots < 2 * count) slots *= 2;
    if (slots > index.size()) grow_index(slots);
}

void Vocabulary::grow_index(size_t slots) {
    index.assign(slots, -1);
    for (int32_t id = 0; id < size(); ++id) {
        if (exists(id)) index[slot(name(id))] = id;
    }
}

size_t Vocabulary::slot(std::string_view text) const {
    size_t at = hash_bytes(text) & (index.size() - 1);
    while (index[at] >= 0 && name(index[at]) != text) at = (at + 1) & (index.size() - 1);
    return at;
}

uint32_t Vocabulary::append(std::string_view text) {
    if (text.size() > UINT32_MAX - blob.size()) fail(Status::limit, "a vocabulary of more than 4 GiB");
    blob += text;
    return uint32_t(blob.size() - text.size());
}

bool Vocabulary::set(int32_t id, std::string_view text) {
    if (exists(id) || text.empty()) return false;
    const size_t at = slot(text);
    if (index[at] >= 0) return false;
    Token& token = tokens[size_t(id)];
    token.name = token.bytes = append(text);
    token.name_length = token.bytes_length = uint32_t(text.size());
    index[at] = id;
    return true;
}

void Vocabulary::set_bytes(int32_t id, std::string_view text) {
    Token& token = tokens[size_t(id)];
    if (text == bytes(id)) return;
    token.bytes = append(text);
    token.bytes_length = uint32_t(text.size());
}

void Vocabulary::set_byte(int32_t id, uint8_t byte) {
    const char text = char(byte);
    set_bytes(id, {&text, 1});
    tokens[size_t(id)].byte = true;
}

std::optional<int32_t> Vocabulary::find(std::string_view text) const {
    if (index.empty() || text.empty()) return {};
    const int32_t id = index[slot(text)];
    return id >= 0 ? std::optional(id) : std::nullopt;
}

}  // namespace alia
