// Text to tokens and back. Tokens are bytes: a piece need not be valid UTF-8 on its own.
#pragma once
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/checkpoint.h"
#include "engine/vocabulary.h"

namespace alia {

// Bytes [begin, end) of a text.
struct TextRange {
    size_t begin, end;
};

struct EncodeOptions {
    bool add_special = true;    // what the file adds around a text (BOS, as a rule)
    bool parse_special = true;  // special tokens written in the text become those tokens; else their letters are text
    // Parts of the text that came from outside, in order: a special token is parsed only where it shares no byte with
    // one.
    std::span<const TextRange> literal = {};
};

// How tokens become text, as far as files differ.
struct Decoding {
    enum class Invalid : uint8_t {
        run,       // byte tokens in a row that are not UTF-8 as a whole: each of them is U+FFFD (Hugging Face's
                   // ByteFallback)
        byte,      // each byte that belongs to no character (sentencepiece)
        sequence,  // each broken start of a character (ByteLevel, and GGUF vocabularies)
    };
    enum class Leading : uint8_t {
        keep,
        text,    // the text loses up to `strip` characters `stripped` at its start (the Strip decoder)
        piece,   // the first token that is no byte token loses a space, if nothing precedes it (sentencepiece)
        pieces,  // likewise each token until one shows (sentencepiece's remove_extra_whitespaces)
        spaces,  // the first token loses all its spaces (the Metaspace decoder)
    };
    Invalid invalid = Invalid::sequence;
    Leading leading = Leading::keep;
    std::string stripped = " ";
    int64_t strip = 1;
};

// Immutable after loading; shared by threads.
class Tokenizer {
  public:
    virtual ~Tokenizer() = default;

    // Any bytes are accepted. Text that is not UTF-8 is encoded byte by byte where the vocabulary can, else as the
    // unknown token; a tokenizer.model puts U+FFFD in its place, as its library does. Time is n log n in the text at
    // worst. With parse_special, control pieces of a tokenizer.model are found in text too (its library never does;
    // chat needs it): what lies between them is encoded as separate texts. Errors: invalid_argument (literal ranges out
    // of order or outside the text), limit (4 GiB of text).
    virtual std::vector<int32_t> encode(std::string_view text, const EncodeOptions& = {}) const = 0;

    // The text of these tokens as the file's decoder gives it (a leading space that encoding added is taken off).
    std::string decode(std::span<const int32_t> ids, bool skip_special = true) const;

    int32_t size() const { return vocabulary.size(); }
    // What token `id` adds to a text: its raw bytes, before a decoder takes off a leading space. Empty for an id that
    // does not exist.
    std::string_view bytes(int32_t id) const { return vocabulary.bytes(id); }
    bool special(int32_t id) const { return vocabulary.special(id); }  // control tokens: skipped by decode
    // The token that is written exactly so ("<|im_end|>"), of any kind.
    std::optional<int32_t> find(std::string_view text) const { return vocabulary.find(text); }

    void prefetch(int32_t id) const { vocabulary.prefetch(id); }
    void prefetch_bytes(int32_t id) const { vocabulary.prefetch_bytes(id); }

    int32_t bos = -1, eos = -1, unknown = -1;  // where the file says so

  protected:
    friend class TextStream;

    Vocabulary vocabulary;
    Decoding decoding;
};

// Decodes token by token and gives out only whole UTF-8 sequences; what remains at the end comes from finish(), invalid
// bytes as U+FFFD. The concatenation equals Tokenizer::decode of all the tokens. With Decoding::Invalid::run a row of
// byte tokens can become text only when it has ended: any later byte may turn all of it into U+FFFD.
class TextStream {
  public:
    explicit TextStream(const Tokenizer& tokenizer, bool skip_special = true);
    std::string append(int32_t id);
    void append(int32_t id, std::string& text);  // the same, behind what `text` holds
    std::string finish();

  private:
    void drain_any(bool end, std::string& text);
    void drain(bool end, std::string& text);
    void drain_run(bool end, std::string& text);
    void strip(std::string& text, size_t begin);

    const Tokenizer* tokenizer;
    bool skip_special;
    bool first = true;     // no token has been shown
    bool started = false;  // some text has been given out
    bool broken = false;   // the bytes of this run are no UTF-8, whatever follows
    int64_t left_to_strip;
    std::string piece;    // the token's bytes
    std::string pending;  // the start of a UTF-8 sequence, or a run of byte tokens
    size_t checked = 0;   // bytes of the run that are whole characters
};

// tokenizer.json, tokenizer.model, a directory (tokenizer.json wins), or a GGUF file. Errors: not_found, no_tokenizer
// (the directory or GGUF has none), malformed, unsupported (a model, normaliser, pre-tokeniser or decoder we do not
// know: never a guess), limit.
std::shared_ptr<const Tokenizer> open_tokenizer(const std::string& path, const JsonLimits& = {});
// Of an open checkpoint; null where it came without one.
std::shared_ptr<const Tokenizer> find_tokenizer(const Checkpoint&, const JsonLimits& = {});

// From memory; `file` names the source in errors.
std::shared_ptr<Tokenizer> read_tokenizer_json(std::string_view text, std::string_view file, const JsonLimits& = {});
std::shared_ptr<Tokenizer> read_tokenizer_model(std::string_view bytes, std::string_view file);
// The `tokenizer.ggml.*` members of GGUF metadata.
std::shared_ptr<Tokenizer> read_gguf_vocabulary(const Json& metadata, std::string_view file);

// Of ranges in order: does one share a byte with [begin, end)?
bool overlaps(std::span<const TextRange> ranges, size_t begin, size_t end);
// invalid_argument where they are out of order or leave the text.
void check_ranges(std::span<const TextRange> ranges, size_t text_size);

}  // namespace alia
