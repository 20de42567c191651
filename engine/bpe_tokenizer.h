// The whole way from a text to tokens, as tokenizer.json describes it: added tokens, normaliser, pre-tokeniser, BPE,
// and what is put around. A GGUF vocabulary is read into the same parts.
#pragma once
#include "engine/added_tokens.h"
#include "engine/bpe_model.h"
#include "engine/normalizer.h"
#include "engine/pretokenizer.h"
#include "engine/tokenizer.h"

namespace alia {

class BpeTokenizer : public Tokenizer {
  public:
    std::vector<int32_t> encode(std::string_view text, const EncodeOptions& options) const override;

    // Readers fill these.
    using Tokenizer::decoding;
    using Tokenizer::vocabulary;

    struct Prefix {
        enum class Where : uint8_t { never, first, always } where = Where::never;
        std::string_view text;  // put before a stretch of text that does not begin so
    };

    AddedTokens added;       // found in the text as it came
    Normalizer normalizer;   // then applied between those
    AddedTokens normalized;  // then found in its result
    bool spaces_to_metaspace = false;
    Prefix prefix;
    std::vector<Split> splits;
    BpeModel model;
    std::vector<int32_t> before, after;  // special tokens around a text

  private:
    struct Call;
    void encode_stretch(Call&, size_t begin, size_t end) const;
    void encode_words(Call&, std::string_view text, bool first) const;
};

}  // namespace alia
