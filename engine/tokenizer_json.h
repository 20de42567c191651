// What the readers of tokenizer.json's parts share: members with a JSON pointer for errors.
#pragma once
#include <initializer_list>
#include <string>

#include "engine/bpe_tokenizer.h"
#include "engine/json.h"

namespace alia {

// A value and where it stands ("/decoder/decoders/0"). A null value is one that is absent.
struct JsonField {
    const Json* value;
    std::string pointer;
    std::string_view file;

    explicit operator bool() const { return value != nullptr; }
    [[noreturn]] void malformed(const char* what) const;
    [[noreturn]] void unsupported(std::string_view what) const;

    JsonField at(std::string_view key) const;  // absent too where this is absent
    JsonField item(size_t i) const;            // of an array or object
    // This object, once it has no member but these.
    const JsonField& only(std::initializer_list<std::string_view> keys) const;
    std::span<const Json> items(Json::Kind kind) const;  // malformed where it is something else

    std::string_view string() const;
    std::string_view string_or(std::string_view absent) const { return value ? string() : absent; }
    bool boolean_or(bool absent) const;
    int64_t integer() const;
    int64_t integer_or(int64_t absent) const { return value ? integer() : absent; }
    std::string_view type() const { return at("type").string_or(""); }
    // The steps of a "Sequence" whose list is called `list`, nested ones included; itself if it is no sequence.
    std::vector<JsonField> steps(std::string_view list) const;
};

// tokenizer_json.cpp reads the vocabulary, the model and the added tokens; tokenizer_stages.cpp the stages around them.
void read_normalizer(const JsonField&, Normalizer&);
void read_pre_tokenizer(const JsonField&, BpeTokenizer&);
void read_post_processor(const JsonField&, BpeTokenizer&);
void read_decoder(const JsonField&, BpeTokenizer&);

// Merges as "a b" or ["a", "b"], those that would make a special token left out; where they cross characters.
std::vector<Cuts::Crossing> read_merges(const JsonField& merges, const Vocabulary&, BpeModel&);

// The byte of a byte-fallback token's name ("<0x0A>"), or -1.
int fallback_byte(std::string_view name);
std::string fallback_name(uint8_t byte);

}  // namespace alia
