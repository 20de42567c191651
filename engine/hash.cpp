// SipHash-2-4 with 128 bits, and the key of quicker hashes.
#include "engine/hash.h"

#include <atomic>
#include <bit>
#include <cstring>
#include <random>

namespace alia {
namespace {

struct SipState {
    uint64_t v0, v1, v2, v3;

    void round() {
        v0 += v1, v1 = std::rotl(v1, 13) ^ v0, v0 = std::rotl(v0, 32);
        v2 += v3, v3 = std::rotl(v3, 16) ^ v2;
        v0 += v3, v3 = std::rotl(v3, 21) ^ v0;
        v2 += v1, v1 = std::rotl(v1, 17) ^ v2, v2 = std::rotl(v2, 32);
    }
    void absorb(uint64_t word) {
        v3 ^= word;
        round(), round();
        v0 ^= word;
    }
    uint64_t squeeze() {
        for (int i = 0; i < 4; ++i) round();
        return v0 ^ v1 ^ v2 ^ v3;
    }
};

}  // namespace

Hash128 siphash(Hash128 key, std::span<const std::byte> bytes) {
    SipState s{key.low ^ 0x736f6d6570736575, key.high ^ 0x646f72616e646f6d ^ 0xee, key.low ^ 0x6c7967656e657261,
               key.high ^ 0x7465646279746573};
    const uint64_t size = bytes.size();
    for (; bytes.size() >= 8; bytes = bytes.subspan(8)) {
        uint64_t word;
        std::memcpy(&word, bytes.data(), 8);
        s.absorb(word);
    }
    uint64_t last = 0;
    if (!bytes.empty()) std::memcpy(&last, bytes.data(), bytes.size());
    s.absorb(last | size << 56);
    Hash128 hash;
    s.v2 ^= 0xee;
    hash.low = s.squeeze();
    s.v1 ^= 0xdd;
    hash.high = s.squeeze();
    return hash;
}

uint64_t process_key() {
    static constinit std::atomic<uint64_t> key{0};
    uint64_t known = key.load(std::memory_order_relaxed);
    if (known) return known;
    std::random_device random;
    const uint64_t drawn = (uint64_t(random()) << 32 | random()) | 1;
    return key.compare_exchange_strong(known, drawn, std::memory_order_relaxed) ? drawn : known;
}

}  // namespace alia
