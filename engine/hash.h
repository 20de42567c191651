// Hashes that nobody can prepare collisions of. SipHash-2-4 with 128 bits
// (https://www.aumasson.jp/siphash/siphash.pdf): who does not know the key finds no two inputs with one hash; with a
// key that everybody knows it is a checksum.
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

// An odd number, drawn once per process: the key of quicker hashes of what files hold. Takes no lock, so that a process
// may be forked while another thread draws it.
uint64_t process_key();

}  // namespace alia
