// tokenizer.json: vocabulary, merges and added tokens. `truncation` and `padding` are settings of a caller's batches
// and are not read, as transformers does not use them either.
#include "engine/tokenizer_json.h"

#include <algorithm>

#include "engine/utf8.h"

namespace alia {

void JsonField::malformed(const char* what) const {
    fail(Status::malformed, Place{file, pointer.empty() ? "/" : std::string_view(pointer)}, "%s", what);
}

void JsonField::unsupported(std::string_view what) const {
    fail(Status::unsupported, Place{file, pointer}, "%.*s is not supported", int(std::min<size_t>(what.size(), 200)),
         what.data());
}

JsonField JsonField::at(std::string_view key) const {
    return {value ? value->find(key) : nullptr, pointer + "/" + std::string(key), file};
}

JsonField JsonField::item(size_t i) const { return {&value->items()[i], pointer + "/" + std::to_string(i), file}; }

const JsonField& JsonField::only(std::initializer_list<std::string_view> keys) const {
    for (const Json& member : items(Json::Kind::object)) {
        if (std::find(keys.begin(), keys.end(), member.key) == keys.end()) {
            JsonField{&member, pointer + "/" + std::string(member.key.substr(0, 100)), file}.unsupported("this member");
        }
    }
    return *this;
}

std::span<const Json> JsonField::items(Json::Kind kind) const {
    if (!value || !value->is(kind)) malformed(kind == Json::Kind::object ? "expected an object" : "expected an array");
    return value->items();
}

std::string_view JsonField::string() const {
    if (!value || !value->is(Json::Kind::string)) malformed("expected a string");
    return value->string();
}

bool JsonField::boolean_or(bool absent) const {
    if (!value) return absent;
    if (!value->is(Json::Kind::boolean)) malformed("expected true or false");
    return value->boolean;
}

int64_t JsonField::integer() const {
    if (!value || !value->is(Json::Kind::integer)) malformed("expected an integer");
    return value->integer;
}

std::vector<JsonField> JsonField::steps(std::string_view list) const {
    if (!value) return {};
    if (type() != "Sequence") return {*this};
    only({"type", list});
    std::vector<JsonField> result;
    const JsonField parts = at(list);
    for (size_t i = 0; i < parts.items(Json::Kind::array).size(); ++i) {
        for (JsonField& step : parts.item(i).steps(list)) result.push_back(std::move(step));
    }
    return result;
}

int fallback_byte(std::string_view name) {
    if (name.size() != 6 || !name.starts_with("<0x") || name[5] != '>') return -1;
    const auto digit = [](char c) {
        return c >= '0' && c <= '9'   ? c - '0'
               : c >= 'A' && c <= 'F' ? c - 'A' + 10
               : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                      : -1;
    };
    const int high = digit(name[3]), low = digit(name[4]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

std::string fallback_name(uint8_t byte) {
    constexpr char digits[] = "0123456789ABCDEF";
    return {'<', '0', 'x', digits[byte >> 4], digits[byte & 15], '>'};
}

namespace {

void read_vocabulary(const JsonField& vocab, const JsonField& added, Vocabulary& vocabulary) {
    const auto tokens = vocab.items(Json::Kind::object);
    const size_t known = tokens.size() + (added ? added.items(Json::Kind::array).size() : 0);
    // Ids may have gaps, but a table by id must stay in proportion to the file.
    const int64_t limit = 8 * int64_t(known) + 1024;
    int64_t last = -1;
    const auto check = [&](const JsonField& id) {
        if (id.integer() < 0 || id.integer() >= limit) id.malformed("an id far beyond the number of tokens");
        last = std::max(last, id.integer());
    };
    for (const Json& token : tokens) {
        if (token.is(Json::Kind::integer) && token.integer >= 0 && token.integer < limit) {
            last = std::max(last, token.integer);
        } else {
            check({&token, vocab.pointer + "/" + std::string(token.key.substr(0, 60)), vocab.file});
        }
    }
    for (size_t i = 0; i < known - tokens.size(); ++i) check(added.item(i).at("id"));
    vocabulary.resize(size_t(last + 1));
    for (const Json& token : tokens) {
        if (token.key.empty()) vocab.unsupported("a token without letters");
        if (!vocabulary.set(int32_t(token.integer), token.key)) {
            fail(Status::duplicate, Place{vocab.file, vocab.pointer}, "token %lld is there twice",
                 (long long)token.integer);
        }
    }
}

void read_added_tokens(const JsonField& list, BpeTokenizer& t) {
    if (!list) return;
    for (size_t i = 0; i < list.items(Json::Kind::array).size(); ++i) {
        const JsonField token = list.item(i);
        token.only({"id", "content", "single_word", "lstrip", "rstrip", "normalized", "special"});
        AddedToken a{std::string(token.at("content").string()), int32_t(token.at("id").integer())};
        a.special = token.at("special").boolean_or(false);
        a.single_word = token.at("single_word").boolean_or(false);
        a.lstrip = token.at("lstrip").boolean_or(false);
        a.rstrip = token.at("rstrip").boolean_or(false);
        if (a.content.empty()) continue;
        if (t.vocabulary.find(a.content) != a.id && !t.vocabulary.set(a.id, a.content)) {
            token.malformed("its id or its letters belong to another token");
        }
        if (a.special) t.vocabulary.set_special(a.id);
        if (token.at("normalized").boolean_or(!a.special)) {
            a.content = t.normalizer.apply(a.content);
            if (!a.content.empty()) t.normalized.add(std::move(a));
        } else {
            t.added.add(std::move(a));
        }
    }
}

// The two names of a merge: "a b" or ["a", "b"].
std::pair<std::string_view, std::string_view> merge_names(const JsonField& merges, size_t i) {
    const Json& merge = merges.value->items()[i];
    if (merge.is(Json::Kind::string)) {
        const std::string_view text = merge.string();
        const size_t space = text.find(' ');
        if (space != text.npos && text.find(' ', space + 1) == text.npos) {
            return {text.substr(0, space), text.substr(space + 1)};
        }
    } else if (merge.is(Json::Kind::array) && merge.count == 2) {
        return {merge.items()[0].string(), merge.items()[1].string()};
    }
    merges.item(i).malformed("expected two tokens, as \"a b\" or [\"a\", \"b\"]");
}

}  // namespace

std::vector<Cuts::Crossing> read_merges(const JsonField& merges, const Vocabulary& vocabulary, BpeModel& model) {
    const size_t count = merges.items(Json::Kind::array).size();
    model.merges = MergeTable(count);
    std::vector<Cuts::Crossing> crossings;
    crossings.reserve(model.byte_level ? 0 : count);
    std::string name;
    uint32_t rank = 0;
    for (size_t i = 0; i < count; ++i) {
        if (merges.value->items()[i].string().starts_with("#version")) continue;
        const auto [left, right] = merge_names(merges, i);
        name.assign(left);
        name += right;
        const auto a = vocabulary.find(left), b = vocabulary.find(right), ab = vocabulary.find(name);
        if (!a || !b || !ab) merges.item(i).malformed("a merge of or to something that is no token");
        const uint32_t this_rank = rank++;
        // Letters of a user never become a special token.
        if (vocabulary.special(*ab)) continue;
        model.merges.set(*a, *b, {this_rank, *ab});
        if (!model.byte_level) {
            crossings.push_back({utf8_before(left, left.size()).code, utf8_at(right, 0).code});
        }
    }
    return crossings;
}

namespace {

void read_model(const JsonField& field, BpeTokenizer& t) {
    field.only({"type", "dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk",
                "byte_fallback", "ignore_merges", "vocab", "merges"});
    if (const JsonField dropout = field.at("dropout"); dropout && dropout.value->as_real() != 0) {
        dropout.unsupported("dropout");
    }
    for (const char* affix : {"continuing_subword_prefix", "end_of_word_suffix"}) {
        if (!field.at(affix).string_or("").empty()) field.at(affix).unsupported("it");
    }
    BpeModel& model = t.model;
    model.fuse_unknown = field.at("fuse_unk").boolean_or(false);
    model.ignore_merges = field.at("ignore_merges").boolean_or(false);
    if (const JsonField unknown = field.at("unk_token")) {
        const auto id = t.vocabulary.find(unknown.string());
        if (!id) unknown.malformed("it is not in the vocabulary");
        t.unknown = model.unknown = *id;
    }
    const bool fallback = field.at("byte_fallback").boolean_or(false);
    if (fallback && model.byte_level) field.at("byte_fallback").unsupported("byte fallback of byte-level words");
    for (int b = 0; b < 256 && (fallback || model.byte_level); ++b) {
        const char byte = char(b);
        const auto id = t.vocabulary.find(fallback ? fallback_name(uint8_t(b)) : byte_level_name({&byte, 1}));
        if (id && !t.vocabulary.special(*id)) model.bytes[size_t(b)] = *id;
    }
    if (!model.byte_level) model.collect_symbols(t.vocabulary);
    auto crossings = read_merges(field.at("merges"), t.vocabulary, model);
    if (!model.byte_level) model.build_cuts(std::move(crossings));
}

}  // namespace

std::shared_ptr<Tokenizer> read_tokenizer_json(std::string_view text, std::string_view file, const JsonLimits& limits) {
    const JsonDocument document = JsonDocument::parse(text, file, limits);
    const JsonField root{&document.root(), "", file};
    root.only({"version", "truncation", "padding", "added_tokens", "normalizer", "pre_tokenizer", "post_processor",
               "decoder", "model"});
    if (const std::string_view version = root.at("version").string_or("1.0"); version != "1.0") {
        root.at("version").unsupported(version);
    }
    const JsonField model = root.at("model");
    if (!model) root.malformed("no model: this is no tokenizer.json");
    if (model.at("type").string_or("BPE") != "BPE") model.at("type").unsupported(model.type());

    const auto tokenizer = std::make_shared<BpeTokenizer>();
    read_vocabulary(model.at("vocab"), root.at("added_tokens"), tokenizer->vocabulary);
    read_normalizer(root.at("normalizer"), tokenizer->normalizer);
    read_added_tokens(root.at("added_tokens"), *tokenizer);
    read_pre_tokenizer(root.at("pre_tokenizer"), *tokenizer);
    read_model(model, *tokenizer);
    read_post_processor(root.at("post_processor"), *tokenizer);
    read_decoder(root.at("decoder"), *tokenizer);
    return tokenizer;
}

}  // namespace alia
