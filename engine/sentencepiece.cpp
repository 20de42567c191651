// tokenizer.model: encoding by the sentencepiece library, on a file that has been walked; decoding by our own rules.
#include <sentencepiece_processor.h>

#include "engine/added_tokens.h"
#include "engine/sentencepiece_walk.h"
#include "engine/tokenizer_json.h"
#include "engine/utf8.h"

// Exported by the library, declared in none of its installed headers.
namespace sentencepiece::logging {
void SetMinLogLevel(int level);
}

namespace alia {
namespace {

class SentencePieceTokenizer : public Tokenizer {
  public:
    SentencePieceTokenizer(std::string_view bytes, std::string_view file);
    std::vector<int32_t> encode(std::string_view text, const EncodeOptions& options) const override;

  private:
    void read_pieces(const SentencePieceFile& model, std::string_view file);
    void encode_stretch(std::string_view text, std::vector<int32_t>& ids) const;

    sentencepiece::SentencePieceProcessor processor;
    AddedTokens controls;
    size_t growth = 3;
};

SentencePieceTokenizer::SentencePieceTokenizer(std::string_view bytes, std::string_view file) {
    const SentencePieceFile model = walk_sentencepiece(bytes, file);
    growth = model.growth;
    read_pieces(model, file);
    decoding.invalid = Decoding::Invalid::byte;
    if (model.remove_extra_whitespaces)
        decoding.leading = Decoding::Leading::pieces;
    else if (model.add_dummy_prefix)
        decoding.leading = Decoding::Leading::piece;

    constexpr int silent = 4;  // above its highest level
    sentencepiece::logging::SetMinLogLevel(silent);
    const auto status = processor.LoadFromSerializedProto(bytes);
    if (!status.ok()) fail(Status::malformed, Place{file}, "%.300s", status.error_message());
    if (processor.GetPieceSize() != size()) fail(Status::malformed, Place{file}, "pieces were lost in reading");
}

void SentencePieceTokenizer::read_pieces(const SentencePieceFile& model, std::string_view file) {
    using Type = SentencePieceFile::Type;
    vocabulary.resize(model.pieces.size());
    for (int32_t id = 0; id < size(); ++id) {
        const std::string_view text = model.pieces[size_t(id)].text;
        const Type type = model.pieces[size_t(id)].type;
        if (!vocabulary.set(id, text)) {
            fail(Status::duplicate, Place{file}, "piece %d has the letters of an earlier one", id);
        }
        if (type == Type::control) {
            vocabulary.set_special(id);
            controls.add({std::string(text), id, true});
            if (text == model.bos) bos = id;
            if (text == model.eos) eos = id;
        } else if (type == Type::unknown) {
            unknown = id;
            vocabulary.set_bytes(id, model.unknown_surface);
        } else if (type == Type::byte) {
            vocabulary.set_byte(id, uint8_t(fallback_byte(text)));
        } else {
            vocabulary.set_bytes(id, replaced(text, metaspace, " "));
        }
    }
}

void SentencePieceTokenizer::encode_stretch(std::string_view text, std::vector<int32_t>& ids) const {
    // The library counts in int.
    if (text.size() > size_t(INT32_MAX) / (growth + 1) - 4) {
        fail(Status::limit, Place{{}, "text"}, "%zu bytes are too many for sentencepiece", text.size());
    }
    std::vector<int> pieces;
    const auto status = processor.Encode(text, &pieces);
    if (!status.ok()) fail(Status::internal, "sentencepiece: %.300s", status.error_message());
    for (const int id : pieces) {
        if (!vocabulary.exists(id)) fail(Status::internal, "sentencepiece gave token %d", id);
        ids.push_back(id);
    }
}

std::vector<int32_t> SentencePieceTokenizer::encode(std::string_view text, const EncodeOptions& options) const {
    check_ranges(options.literal, text.size());
    std::vector<int32_t> ids;
    if (options.add_special && bos >= 0) ids.push_back(bos);
    controls.split(
        text, [&](size_t begin, size_t end) { return options.parse_special && !overlaps(options.literal, begin, end); },
        [&](size_t begin, size_t end) { encode_stretch(text.substr(begin, end - begin), ids); },
        [&](int32_t id) { ids.push_back(id); });
    return ids;
}

}  // namespace

std::shared_ptr<Tokenizer> read_tokenizer_model(std::string_view bytes, std::string_view file) {
    return std::make_shared<SentencePieceTokenizer>(bytes, file);
}

}  // namespace alia
