// SipHash-2-4 with 128 bits (https://www.aumasson.jp/siphash/siphash.pdf): who does not know the key finds no two
// inputs with one hash; with a key that everybody knows it is a checksum.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

namespace alia {

struct Hash128 {
    uint64_t low = 0, high = 0;
    bool operator==(const Hash128&) const = default;
};

Hash128 siphash(Hash128 key, std::span<const std::byte> bytes);

}  // namespace alia
