// What all tokenizers share: decoding, and finding the file.
#include "engine/tokenizer.h"

#include <algorithm>

#include "engine/utf8.h"

namespace alia {

std::string Tokenizer::decode(std::span<const int32_t> ids, bool skip_special) const {
    TextStream stream(*this, skip_special);
    std::string text;
    for (const int32_t id : ids) text += stream.append(id);
    return text += stream.finish();
}

TextStream::TextStream(const Tokenizer& t, bool skip_special)
    : tokenizer(&t), skip_special(skip_special), left_to_strip(t.decoding.strip) {}

std::string TextStream::append(int32_t id) {
    std::string text;
    append(id, text);
    return text;
}

void TextStream::append(int32_t id, std::string& text) {
    const Vocabulary& v = tokenizer->vocabulary;
    if (!v.exists(id) || (skip_special && v.special(id))) return;
    const Decoding& d = tokenizer->decoding;
    const size_t before = text.size();
    const bool ends_run = d.invalid == Decoding::Invalid::run && !v.byte(id);
    piece = v.bytes(id);
    if (ends_run) drain_run(true, text);

    const bool at_start = !started && pending.empty() && text.size() == before;
    if (d.leading == Decoding::Leading::spaces && first) {
        std::erase(piece, ' ');
    } else if (!v.byte(id) && !v.special(id) && at_start && piece.starts_with(' ')) {
        const bool once = d.leading == Decoding::Leading::piece && left_to_strip > 0;
        if (once || d.leading == Decoding::Leading::pieces) {
            piece.erase(0, 1);
            left_to_strip = 0;
        }
    }
    first = false;
    (ends_run ? text : pending) += piece;
    if (!ends_run) drain_any(false, text);
    strip(text, before);
}

std::string TextStream::finish() {
    std::string text;
    drain_any(true, text);
    strip(text, 0);
    return text;
}

void TextStream::drain_any(bool end, std::string& text) {
    tokenizer->decoding.invalid == Decoding::Invalid::run ? drain_run(end, text) : drain(end, text);
}

// The whole characters of `pending`, and U+FFFD for what can no longer become one.
void TextStream::drain(bool end, std::string& text) {
    size_t at = 0;
    while (at < pending.size()) {
        const Utf8Char c = utf8_at(pending, at);
        if (c.kind == Utf8Char::Kind::incomplete && !end) break;
        if (c.valid()) {
            text.append(pending, at, c.length);
            at += c.length;
        } else {
            text += replacement_character;
            at += tokenizer->decoding.invalid == Decoding::Invalid::byte ? 1 : c.length;
        }
    }
    pending.erase(0, at);
}

// A run of byte tokens: all of it or none is text.
void TextStream::drain_run(bool end, std::string& text) {
    while (!broken && checked < pending.size()) {
        const Utf8Char c = utf8_at(pending, checked);
        if (c.kind == Utf8Char::Kind::incomplete) break;
        if (c.valid()) checked += c.length;
        broken = !c.valid();
    }
    if (broken || (end && checked < pending.size())) {
        for (size_t i = 0; i < pending.size(); ++i) text += replacement_character;
        pending.clear();
    } else if (end) {
        text += pending;
        pending.clear();
    }
    if (end || broken) checked = 0;
    if (end) broken = false;
}

// Of `text` from `begin` on.
void TextStream::strip(std::string& text, size_t begin) {
    started = started || text.size() > begin;
    const Decoding& d = tokenizer->decoding;
    if (d.leading != Decoding::Leading::text) return;
    size_t cut = begin;
    while (left_to_strip > 0 && cut < text.size()) {
        const bool match = text.compare(cut, d.stripped.size(), d.stripped) == 0;
        if (match) cut += d.stripped.size();
        left_to_strip = match ? left_to_strip - 1 : 0;
    }
    text.erase(begin, cut - begin);
}

bool overlaps(std::span<const TextRange> ranges, size_t begin, size_t end) {
    const auto ends_after = [](size_t at, const TextRange& r) { return at < r.end; };
    auto range = std::upper_bound(ranges.begin(), ranges.end(), begin, ends_after);
    while (range != ranges.end() && range->begin == range->end) ++range;  // empty ranges have no byte to share
    return range != ranges.end() && range->begin < end && begin < end;
}

void check_ranges(std::span<const TextRange> ranges, size_t text_size) {
    size_t last = 0;
    for (size_t i = 0; i < ranges.size(); ++i) {
        if (ranges[i].begin < last || ranges[i].end < ranges[i].begin || ranges[i].end > text_size) {
            fail(Status::invalid_argument, Place{{}, "literal"}, "range %zu is [%zu, %zu) of a text of %zu bytes", i,
                 ranges[i].begin, ranges[i].end, text_size);
        }
        last = ranges[i].end;
    }
}

namespace {

bool is_gguf(std::string_view bytes) { return bytes.starts_with("GGUF"); }

// bos_token and eos_token as tokenizer_config.json names them: a string, or an added token.
void read_names(Tokenizer& tokenizer, const std::string& path, const JsonLimits& limits) {
    if (!file_exists(path)) return;
    const auto file = File::open(path);
    const JsonDocument document = JsonDocument::parse(file->text(), path, limits);
    const auto id = [&](const char* key, int32_t& result) {
        const Json* name = document.root().find(key);
        if (name && name->is(Json::Kind::object)) name = name->find("content");
        if (!name || !name->is(Json::Kind::string)) return;
        if (const auto found = tokenizer.find(name->string())) result = *found;
    };
    id("bos_token", tokenizer.bos);
    id("eos_token", tokenizer.eos);
    id("unk_token", tokenizer.unknown);
}

std::shared_ptr<const Tokenizer> required(std::shared_ptr<const Tokenizer> tokenizer, const std::string& path) {
    if (!tokenizer) fail(Status::no_tokenizer, Place{path}, "it came without a tokenizer");
    return tokenizer;
}

std::shared_ptr<const Tokenizer> open_file(const std::string& path, const JsonLimits& limits) {
    const auto file = File::open(path);
    if (is_gguf(file->text())) return required(find_tokenizer(open_gguf(path, {limits, false}), limits), path);
    // JSON begins with a brace; a tokenizer.model with the tag of its first piece.
    const size_t start = file->text().find_first_not_of(" \t\r\n");
    if (start != std::string_view::npos && file->text()[start] == '{') {
        return read_tokenizer_json(file->text(), path, limits);
    }
    return read_tokenizer_model(file->text(), path);
}

std::shared_ptr<const Tokenizer> open_directory(const std::string& path, const JsonLimits& limits) {
    const std::string json = path + "/tokenizer.json", model = path + "/tokenizer.model";
    std::shared_ptr<Tokenizer> tokenizer;
    if (file_exists(json)) {
        tokenizer = read_tokenizer_json(File::open(json)->text(), json, limits);
    } else if (file_exists(model)) {
        tokenizer = read_tokenizer_model(File::open(model)->text(), model);
    } else {
        return nullptr;
    }
    read_names(*tokenizer, path + "/tokenizer_config.json", limits);
    return tokenizer;
}

}  // namespace

std::shared_ptr<const Tokenizer> open_tokenizer(const std::string& path, const JsonLimits& limits) {
    if (!is_directory(path)) return open_file(path, limits);
    if (auto tokenizer = open_directory(path, limits)) return tokenizer;
    return required(find_tokenizer(open_checkpoint(path, {limits, false}), limits), path);
}

std::shared_ptr<const Tokenizer> find_tokenizer(const Checkpoint& checkpoint, const JsonLimits& limits) {
    if (checkpoint.drawn) return nullptr;
    if (checkpoint.kind == Checkpoint::Kind::gguf) {
        const Json& metadata = checkpoint.metadata.root();
        if (metadata.find("tokenizer.ggml.model")) return read_gguf_vocabulary(metadata, checkpoint.path);
    } else {
        std::string directory = checkpoint.path;
        if (!is_directory(directory)) {
            const size_t slash = directory.rfind('/');
            directory = slash == directory.npos ? "." : directory.substr(0, slash);
        }
        return open_directory(directory, limits);
    }
    return nullptr;
}

}  // namespace alia
