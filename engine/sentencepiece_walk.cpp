// The protobuf wire format of a tokenizer.model: every length, number and offset that the library will trust.
#include "engine/sentencepiece_walk.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "engine/tokenizer_json.h"
#include "engine/utf8.h"

namespace alia {
namespace {

constexpr size_t longest_piece = 1024, largest_file = size_t(1) << 30, largest_map = size_t(4) << 20;

struct Field {
    uint32_t number = 0, wire = 0;
    uint64_t varint = 0;
    std::string_view bytes;  // of wire types 1, 2 and 5
    size_t offset = 0;       // of the field in the file
};

// The fields of one message.
struct Wire {
    std::string_view whole, file;
    size_t at, end;

    [[noreturn]] void fail_at(size_t offset, Status status, const char* what) const {
        fail(status, Place{file, {}, int64_t(offset)}, "%s", what);
    }
    uint64_t varint() {
        uint64_t value = 0;
        for (int shift = 0; shift < 70; shift += 7) {
            if (at == end) fail_at(at, Status::truncated, "it ends inside a number");
            const uint8_t byte = uint8_t(whole[at++]);
            if (shift == 63 && byte > 1) break;
            value |= uint64_t(byte & 0x7F) << shift;
            if (byte < 0x80) return value;
        }
        fail_at(at, Status::malformed, "a number of more than 64 bits");
    }
    bool next(Field& f) {
        if (at == end) return false;
        f = {};
        f.offset = at;
        const uint64_t tag = varint();
        if (tag >> 3 == 0 || tag > UINT32_MAX) fail_at(f.offset, Status::malformed, "no field of a tokenizer.model");
        f.number = uint32_t(tag >> 3), f.wire = uint32_t(tag & 7);
        uint64_t size = 0;
        if (f.wire == 0)
            f.varint = varint();
        else if (f.wire == 1)
            size = 8;
        else if (f.wire == 2)
            size = varint();
        else if (f.wire == 5)
            size = 4;
        else
            fail_at(f.offset, Status::malformed, "no field of a tokenizer.model");
        if (size > end - at) fail_at(f.offset, Status::truncated, "it ends inside a field");
        f.bytes = whole.substr(at, size);
        at += size;
        return true;
    }
    // The message in a field just read.
    Wire message(const Field& f) const {
        expect(f, 2);
        return {whole, file, at - f.bytes.size(), at};
    }
    void expect(const Field& f, uint32_t wire) const {
        if (f.wire != wire) fail_at(f.offset, Status::malformed, "a field of another kind than it has to be");
    }
    bool flag(const Field& f) const {
        expect(f, 0);
        return f.varint != 0;
    }
};

SentencePieceFile::Piece read_piece(Wire wire) {
    SentencePieceFile::Piece piece;
    const size_t start = wire.at;
    for (Field f; wire.next(f);) {
        if (f.number == 1) {
            wire.expect(f, 2);
            piece.text = f.bytes;
        } else if (f.number == 2) {
            wire.expect(f, 5);
            std::memcpy(&piece.score, f.bytes.data(), 4);
            if (!std::isfinite(piece.score)) wire.fail_at(f.offset, Status::malformed, "a score that is no number");
        } else if (f.number == 3) {
            wire.expect(f, 0);
            if (f.varint < 1 || f.varint > 6) wire.fail_at(f.offset, Status::unsupported, "an unknown type of piece");
            piece.type = SentencePieceFile::Type(f.varint);
        }
    }
    if (piece.text.empty() || piece.text.find('\0') != piece.text.npos || !utf8_valid(piece.text)) {
        wire.fail_at(start, Status::malformed, "a piece without letters, or not in UTF-8");
    }
    if (piece.text.size() > longest_piece) wire.fail_at(start, Status::limit, "a piece of more than 1024 bytes");
    return piece;
}

void read_trainer(Wire wire, SentencePieceFile& model) {
    uint64_t type = 1;
    for (Field f; wire.next(f);) {
        if (f.number == 3) wire.expect(f, 0), type = f.varint;
        if (f.number == 24 && wire.flag(f)) wire.fail_at(f.offset, Status::unsupported, "spaces as suffixes");
        if (f.number == 35) model.byte_fallback = wire.flag(f);
        if (f.number >= 44 && f.number <= 47) wire.expect(f, 2);
        if (f.number == 44) model.unknown_surface = f.bytes;
        if (f.number == 46 && !f.bytes.empty()) model.bos = f.bytes;
        if (f.number == 47 && !f.bytes.empty()) model.eos = f.bytes;
    }
    if (type != 2) wire.fail_at(wire.end, Status::unsupported, "a sentencepiece model that is not BPE");
}

// <bytes of the trie><double array><strings that end in zero>. The library follows the array's offsets unchecked; so
// every unit that any text can reach is visited here. One step from `base` reads the 256 units base ^ byte.
void walk_charsmap(const Wire& wire, const Field& f, SentencePieceFile& model) {
    const auto bad = [&] { wire.fail_at(f.offset, Status::malformed, "a broken table of normalisations"); };
    if (f.bytes.empty()) return;
    model.normalizes = true;
    if (f.bytes.size() > largest_map) wire.fail_at(f.offset, Status::limit, "a table of normalisations beyond 4 MiB");
    uint32_t trie_bytes = 0;
    if (f.bytes.size() <= 4) bad();
    std::memcpy(&trie_bytes, f.bytes.data(), 4);
    if (trie_bytes % 4 != 0 || trie_bytes == 0 || trie_bytes >= f.bytes.size() - 4) bad();
    std::vector<uint32_t> units(trie_bytes / 4);
    std::memcpy(units.data(), f.bytes.data() + 4, trie_bytes);
    const std::string_view strings = f.bytes.substr(4 + trie_bytes);
    if (strings.back() != '\0' || !utf8_valid(strings)) bad();

    const auto offset = [](uint32_t unit) { return (unit >> 10) << ((unit & 0x200) >> 6); };
    std::vector<bool> seen(units.size());
    std::vector<uint32_t> open;
    const auto visit = [&](uint32_t base) {
        if ((base | 0xFF) >= units.size()) bad();
        if (!seen[base]) open.push_back(base);
        seen[base] = true;
    };
    visit(offset(units[0]));
    while (!open.empty()) {
        const uint32_t base = open.back();
        open.pop_back();
        for (uint32_t byte = 0; byte < 256; ++byte) {
            const uint32_t at = base ^ byte, unit = units[at];
            if ((unit & 0x800000FF) != byte) continue;
            const uint32_t next = at ^ offset(unit);
            visit(next);
            if (!(unit & 0x100)) continue;
            const uint32_t value = units[next] & 0x7FFFFFFF;
            if (value >= strings.size() || (uint8_t(strings[value]) & 0xC0) == 0x80) bad();
            const size_t length = strings.find('\0', value) - value;
            if (length > 256) wire.fail_at(f.offset, Status::limit, "a normalisation to more than 256 bytes");
            model.growth = std::max(model.growth, 3 * length);
        }
    }
}

void read_normalizer(Wire wire, SentencePieceFile& model) {
    for (Field f; wire.next(f);) {
        if (f.number == 2) wire.expect(f, 2), walk_charsmap(wire, f, model);
        if (f.number == 3) model.add_dummy_prefix = wire.flag(f);
        if (f.number == 4) model.remove_extra_whitespaces = wire.flag(f);
        if (f.number == 5 && !wire.flag(f)) wire.fail_at(f.offset, Status::unsupported, "unescaped spaces");
    }
}

void check_pieces(const SentencePieceFile& model, std::string_view file) {
    using Type = SentencePieceFile::Type;
    int unknown = 0;
    bool bytes[256] = {};
    for (const auto& piece : model.pieces) {
        unknown += piece.type == Type::unknown;
        if (piece.type != Type::byte) continue;
        const int byte = fallback_byte(piece.text);
        if (byte < 0 || fallback_name(uint8_t(byte)) != piece.text || !model.byte_fallback) {
            fail(Status::malformed, Place{file}, "a byte piece that is none");
        }
        bytes[byte] = true;
    }
    if (unknown != 1) fail(Status::malformed, Place{file}, "%d unknown pieces; there has to be one", unknown);
    if (model.byte_fallback && std::find(bytes, bytes + 256, false) != bytes + 256) {
        fail(Status::missing, Place{file}, "it asks for byte fallback and has not all 256 byte pieces");
    }
}

}  // namespace

SentencePieceFile walk_sentencepiece(std::string_view bytes, std::string_view file) {
    if (bytes.size() > largest_file) fail(Status::limit, Place{file}, "a tokenizer.model of more than 1 GiB");
    SentencePieceFile model;
    model.unknown_surface = unknown_surface;
    bool trainer = false, normalizer = false;
    Wire wire{bytes, file, 0, bytes.size()};
    for (Field f; wire.next(f);) {
        if (f.number == 1) {
            model.pieces.push_back(read_piece(wire.message(f)));
        } else if (f.number == 2 && !trainer) {
            trainer = true;
            read_trainer(wire.message(f), model);
        } else if (f.number == 3 && !normalizer) {
            normalizer = true;
            read_normalizer(wire.message(f), model);
        } else if (f.number == 2 || f.number == 3) {
            wire.fail_at(f.offset, Status::duplicate, "a second specification");
        } else if (f.number == 4 || f.number == 5) {
            wire.fail_at(f.offset, Status::unsupported, "self tests or denormalisation");
        }
    }
    if (!trainer) fail(Status::missing, Place{file}, "no trainer specification: this is no tokenizer.model");
    check_pieces(model, file);
    return model;
}

}  // namespace alia
