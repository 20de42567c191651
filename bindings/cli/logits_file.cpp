// Reference logits on disk.
#include "bindings/cli/logits_file.h"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cmath>
#include <cstring>

namespace cli {
namespace {

static_assert(std::endian::native == std::endian::little, "the file's numbers are little-endian");

struct Header {
    char magic[8] = {'A', 'L', 'I', 'A', 'L', 'O', 'G', 'S'};
    uint32_t version = 1, vocabulary = 0;
    uint64_t chunks = 0;
};

struct RowHeader {
    uint32_t top;   // the best token
    uint32_t fine;  // how many of the row's distances have fine bits
};

// A distance below the row's largest logit is a number of 2^-11, at most 65535 of them. Those under 10 have eight bits
// more, which follow. Tokens further below are so improbable that their rounding does not show in a divergence.
constexpr int coarse_bits = 11, fine_bits = 8;
constexpr uint32_t fine_limit = 10u << coarse_bits, farthest = UINT16_MAX;

uint32_t rounded(double distance, int bits) {
    return uint32_t(std::lround(std::min(distance, 64.0) * double(1u << bits)));
}

}  // namespace

LogitsWriter::LogitsWriter(const std::string& path, int64_t vocabulary, int64_t chunks)
    : file(path), coarse(size_t(vocabulary), 0) {
    const Header header{.vocabulary = uint32_t(vocabulary), .chunks = uint64_t(chunks)};
    file.write(&header, sizeof header);
}

void LogitsWriter::chunk(const std::vector<int32_t>& ids) {
    const uint64_t count = ids.size();
    file.write(&count, sizeof count);
    file.write(ids.data(), ids.size() * sizeof ids[0]);
}

void LogitsWriter::row(const float* logits, int32_t top) {
    fine.clear();
    for (size_t i = 0; i < coarse.size(); ++i) {
        const double distance = double(logits[top]) - double(logits[i]);
        const uint32_t units = rounded(distance, coarse_bits + fine_bits);
        if (units < fine_limit << fine_bits) {
            coarse[i] = uint16_t(units >> fine_bits);
            fine.push_back(uint8_t(units));
        } else {
            coarse[i] = uint16_t(std::min(rounded(distance, coarse_bits), farthest));
        }
    }
    const RowHeader header{uint32_t(top), uint32_t(fine.size())};
    file.write(&header, sizeof header);
    file.write(coarse.data(), coarse.size() * sizeof coarse[0]);
    file.write(fine.data(), fine.size());
}

void LogitsWriter::finish() { file.finish(); }

LogitsReader::LogitsReader(const std::string& p, int64_t vocabulary, int64_t chunks)
    : path(p), file(std::fopen(p.c_str(), "rbe")), coarse(size_t(vocabulary), 0), fine(coarse.size(), 0) {
    if (!file) throw Failure(path + ": " + std::strerror(errno), ALIA_NOT_FOUND);
    const Header wanted{.vocabulary = uint32_t(vocabulary), .chunks = uint64_t(chunks)};
    Header header;
    get(&header, sizeof header);
    if (std::memcmp(header.magic, wanted.magic, sizeof header.magic) != 0)
        fail("these are no logits of `alia perplexity --save`", sizeof header);
    if (header.version != wanted.version)
        fail("version " + std::to_string(header.version) + " is unknown here", sizeof header - sizeof header.magic);
    if (header.vocabulary != wanted.vocabulary)
        fail("they are of a vocabulary of " + std::to_string(header.vocabulary) + ", and this model has one of " +
                 std::to_string(wanted.vocabulary),
             sizeof header.vocabulary + sizeof header.chunks);
    if (header.chunks != wanted.chunks)
        fail("they are of " + std::to_string(header.chunks) + " chunks and these texts have " +
                 std::to_string(wanted.chunks) + ": take the same texts and --context",
             sizeof header.chunks);
}

void LogitsReader::chunk(const std::vector<int32_t>& ids) {
    uint64_t count = 0;
    get(&count, sizeof count);
    if (count != ids.size())
        fail("the chunk has " + std::to_string(count) + " tokens and this text's " + std::to_string(ids.size()) +
                 ": take the same texts and --context",
             sizeof count);
    for (int32_t id : ids) {
        int32_t there = 0;
        get(&there, sizeof there);
        if (there != id)
            fail("token " + std::to_string(there) + " stands where this text has " + std::to_string(id) +
                     ": take the same texts and tokenizer",
                 sizeof there);
    }
}

void LogitsReader::row(ReferenceRow& row) {
    RowHeader header;
    get(&header, sizeof header);
    if (header.top >= coarse.size())
        fail("token " + std::to_string(header.top) + " is not in the vocabulary", sizeof header);
    const size_t header_end = offset;
    get(coarse.data(), coarse.size() * sizeof coarse[0]);
    const auto detailed = std::count_if(coarse.begin(), coarse.end(), [](uint16_t c) { return c < fine_limit; });
    if (detailed != int64_t(header.fine))
        fail(std::to_string(header.fine) + " fine numbers are announced for " + std::to_string(detailed) + " tokens",
             offset - header_end + sizeof header.fine);
    get(fine.data(), header.fine);
    row.top = int32_t(header.top);
    row.below.resize(coarse.size());
    const uint8_t* more = fine.data();
    for (size_t i = 0; i < coarse.size(); ++i)
        row.below[i] =
            coarse[i] < fine_limit ? float(coarse[i] << fine_bits | *more++) * 0x1p-19f : float(coarse[i]) * 0x1p-11f;
}

void LogitsReader::finish() {
    if (std::fgetc(file.get()) != EOF) fail("more bytes follow the last row");
}

void LogitsReader::get(void* bytes, size_t size) {
    const size_t count = std::fread(bytes, 1, size, file.get());
    offset += count;
    if (count == size) return;
    if (std::ferror(file.get())) throw Failure(path + ": " + std::strerror(errno), ALIA_IO);
    throw Failure(path + ", byte " + std::to_string(offset) + ": the file ends early", ALIA_TRUNCATED);
}

void LogitsReader::fail(const std::string& message, size_t ago) const {
    throw Failure(path + ", byte " + std::to_string(offset - ago) + ": " + message, ALIA_MALFORMED);
}

}  // namespace cli
