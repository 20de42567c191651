// Saved state of sequences.
#include "engine/state.h"

#include <algorithm>
#include <cstring>

namespace alia {
namespace {

constexpr char magic[8] = "ALIASEQ";
constexpr uint64_t version = 1;
static_assert(sizeof(StateHeader) == 8 + 8 + 16 + 24 + 8 + 8 * 8, "its bytes are the file's");

int64_t padded(int64_t bytes) { return (bytes + 7) / 8 * 8; }

template <size_t n>
void put_name(char (&field)[n], const char* name) {
    std::strncpy(field, name, n - 1);
}

StateHeader header_of(const Cache& cache, const Config& c, const Device& device, Hash128 model) {
    StateHeader h{};
    std::memcpy(h.magic, magic, sizeof magic);
    h.version = version;
    h.model = model;
    put_name(h.table, device.kernels.name);
    put_name(h.cache, info(cache.view.k[0].format).name);
    h.layers = c.layers;
    h.kv_dim = c.kv_dim();
    h.head_dim = c.head_dim;
    h.vocabulary = c.vocabulary;
    h.page_bytes = cache.page_bytes();
    return h;
}

[[noreturn]] void refuse(Status status, const char* part, const char* why) {
    fail(status, {.file = {}, .item = part}, "%s", why);
}

// Pieces of an array in the device's memory, spread over all of it.
void hash_samples(Hash128& hash, Device& device, const void* data, int64_t bytes) {
    constexpr int64_t size = 512, count = 8;
    std::byte sample[size + sizeof(Hash128)];
    const int64_t n = std::min(size, bytes);
    for (int64_t i = 0; i < count; ++i) {
        const int64_t at = (bytes - n) / (count - 1) * i;
        std::memcpy(sample, &hash, sizeof hash);
        device.kernels.read(device.stream, sample + sizeof hash, static_cast<const std::byte*>(data) + at, n);
        hash = siphash({}, {sample, size_t(n) + sizeof hash});
    }
}

}  // namespace

// The embedding table of an untied model may lie in the host's memory, out of `read`'s reach; it is not looked at.
Hash128 model_identity(const Model& m, Device& device) {
    const Config& c = m.config;
    const double numbers[] = {double(c.layers),        double(c.hidden), double(c.heads),      double(c.kv_heads),
                              double(c.head_dim),      double(c.ffn),    double(c.vocabulary), c.eps,
                              double(c.rope.kind),     c.rope.base,      c.rope.factor,        double(m.parameters),
                              double(m.weight_bytes())};
    Hash128 hash = siphash({}, std::as_bytes(std::span(numbers)));
    auto weight = [&](const Weight& w) {
        for (const Piece& p : w)
            hash_samples(hash, device, p.data, device.kernels.packed_bytes(p.format, p.rows, p.columns));
    };
    auto norm = [&](const float* w) { hash_samples(hash, device, w, c.hidden * int64_t(sizeof *w)); };
    for (const Layer& l : m.layers) {
        norm(l.attn_norm), weight(l.qkv), weight(l.o);
        norm(l.ffn_norm), weight(l.gate_up), weight(l.down);
    }
    norm(m.norm);
    if (!c.tied) weight(m.head);
    return hash;
}

std::vector<std::byte> save_state(const Sequence& s, const Cache& cache, const Config& c, const Device& device,
                                  Hash128 model) {
    StateHeader h = header_of(cache, c, device, model);
    const int64_t pages = s.computed() / page_positions;
    h.dropped = s.dropped();
    h.tokens = s.length();
    h.computed = pages * page_positions;
    const int64_t tokens_at = sizeof h, roles_at = tokens_at + padded(h.tokens * 4),
                  pages_at = roles_at + padded(h.tokens), end = pages_at + pages * h.page_bytes;
    std::vector<std::byte> bytes(size_t(end) + sizeof(Hash128));
    std::memcpy(bytes.data(), &h, sizeof h);
    std::ranges::copy(std::as_bytes(s.tokens()), bytes.begin() + tokens_at);
    std::ranges::copy(std::as_bytes(s.roles()), bytes.begin() + roles_at);
    for (int64_t i = 0; i < pages; ++i)
        cache.read_page(s.pages()[size_t(i)], &bytes[size_t(pages_at + i * h.page_bytes)]);
    const Hash128 sum = siphash({}, std::span(bytes).first(size_t(end)));
    std::memcpy(&bytes[size_t(end)], &sum, sizeof sum);
    return bytes;
}

void load_state(std::span<const std::byte> bytes, Sequence& s, Cache& cache, const Config& c, const Device& device,
                Hash128 model, int64_t context) {
    StateHeader h;
    if (bytes.size() < sizeof h) refuse(Status::truncated, "header", "the state ends inside it");
    std::memcpy(&h, bytes.data(), sizeof h);
    if (std::memcmp(h.magic, magic, sizeof magic) != 0) refuse(Status::malformed, "magic", "this is no saved sequence");
    if (h.version != version) refuse(Status::unsupported, "version", "another version of the library wrote it");
    const StateHeader own = header_of(cache, c, device, model);
    if (std::memcmp(h.table, own.table, sizeof h.table) != 0)
        refuse(Status::unsupported, "table", "it was saved on another kind of device");
    if (std::memcmp(h.cache, own.cache, sizeof h.cache) != 0)
        refuse(Status::unsupported, "cache", "it was saved with another format of the KV cache");
    if (h.layers != own.layers || h.kv_dim != own.kv_dim || h.head_dim != own.head_dim ||
        h.vocabulary != own.vocabulary || h.page_bytes != own.page_bytes)
        refuse(Status::unsupported, "shape", "it was saved with a model of another shape");
    if (h.model != own.model) refuse(Status::unsupported, "model", "it was saved with another model");

    // A token has five bytes at least, so no sum below overflows once the count is known to fit.
    const int64_t size = int64_t(bytes.size());
    if (h.tokens < 0 || h.tokens > size / 5) refuse(Status::truncated, "tokens", "the state ends before them");
    if (h.computed < 0 || h.computed > h.tokens || h.computed % page_positions != 0 || h.dropped < 0 ||
        h.dropped > int64_t(1) << 48)
        refuse(Status::malformed, "computed", "the counts contradict each other");
    const int64_t pages = h.computed / page_positions;
    const int64_t tokens_at = sizeof h, roles_at = tokens_at + padded(h.tokens * 4),
                  pages_at = roles_at + padded(h.tokens);
    if (pages > size / h.page_bytes || pages_at + pages * h.page_bytes + int64_t(sizeof(Hash128)) > size)
        refuse(Status::truncated, "pages", "the state ends before them");
    const int64_t end = pages_at + pages * h.page_bytes;
    if (end + int64_t(sizeof(Hash128)) != size) refuse(Status::malformed, "checksum", "bytes follow it");
    const Hash128 sum = siphash({}, bytes.first(size_t(end)));
    if (std::memcmp(&bytes[size_t(end)], &sum, sizeof sum) != 0)
        refuse(Status::malformed, "checksum", "the state was altered");
    if (h.tokens > context)
        fail(Status::context_full, {.file = {}, .item = "tokens"}, "%lld do not fit a context of %lld",
             (long long)h.tokens, (long long)context);

    std::vector<int32_t> tokens(static_cast<size_t>(h.tokens));
    std::vector<Role> roles(size_t(h.tokens), Role::prompt);
    if (h.tokens > 0) std::memcpy(tokens.data(), &bytes[size_t(tokens_at)], tokens.size() * sizeof(int32_t));
    for (size_t i = 0; i < tokens.size(); ++i) {
        if (tokens[i] < 0 || tokens[i] >= c.vocabulary)
            refuse(Status::malformed, "tokens", "one is not in the vocabulary");
        const uint8_t role = uint8_t(bytes[size_t(roles_at) + i]);
        if (role > uint8_t(Role::prompt)) refuse(Status::malformed, "roles", "one is neither generated nor prompt");
        roles[i] = Role(role);
    }
    const int64_t taken = std::min<int64_t>(pages, cache.pages.available());
    s.load(std::move(tokens), std::move(roles), h.dropped, taken * page_positions);
    for (int64_t i = 0; i < taken; ++i)
        cache.write_page(s.pages()[size_t(i)], &bytes[size_t(pages_at + i * h.page_bytes)]);
}

}  // namespace alia
