// A sequence's saved state: a header, tokens, roles, full pages of K and V, a checksum. Little endian, parts padded to
// 8 bytes:
//
//     StateHeader    below
//     int32 [tokens] the tokens
//     uint8 [tokens] the role of each: 0 generated, 1 prompt
//     [computed / 64][page_bytes]  of each layer K, then V, as the kernel table lays a page out
//     16 bytes       SipHash-2-4-128 of all before, key 0
//
// Tokens behind the last full page have no K and V here: a page that is partly filled holds what others left in it.
#pragma once
#include "engine/sequence.h"

namespace alia {

struct StateHeader {
    char magic[8];  // "ALIASEQ", 0
    uint64_t version;
    Hash128 model;   // model_identity
    char table[24];  // the kernel table's name
    char cache[8];   // the format of K and V
    int64_t layers, kv_dim, head_dim, vocabulary, page_bytes;
    int64_t dropped;   // tokens that slid out
    int64_t tokens;    // in the sequence
    int64_t computed;  // whose K and V follow; full pages
};

// Of the model's shape and of samples of its weights: two models with one identity give the same K and V.
Hash128 model_identity(const Model&, Device&);

std::vector<std::byte> save_state(const Sequence&, const Cache&, const Config&, const Device&, Hash128 model);

// Fills an empty sequence. Nothing is believed before it is checked. Errors: truncated, malformed, unsupported, each
// naming the part; context_full where it is longer than `context`. Pages are taken as far as there are any.
void load_state(std::span<const std::byte> bytes, Sequence&, Cache&, const Config&, const Device&, Hash128 model,
                int64_t context);

}  // namespace alia
