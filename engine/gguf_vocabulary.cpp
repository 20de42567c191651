// Vocabularies in GGUF metadata: `llama` (pairs ranked by the score of what they become, as sentencepiece does it) and
// `gpt2` (byte level, with merges). A `llama` vocabulary that `alia quantize` made of a tokenizer.json says so with the
// key of space_prefix_key and then follows that file's rules, not sentencepiece's.
#include <algorithm>
#include <cmath>

#include "engine/gguf_tokenizer.h"
#include "engine/tokenizer_json.h"
#include "engine/utf8.h"

namespace alia {
namespace {

enum class Type : uint8_t { normal = 1, unknown = 2, control = 3, user_defined = 4, unused = 5, byte = 6 };

struct Source {
    const Json& metadata;
    std::string_view file;

    JsonField field(const char* key) const { return {metadata.find(key), key, file}; }
    int32_t token(const char* key, int32_t size) const {
        const JsonField f = field(key);
        if (!f) return -1;
        if (f.integer() < 0 || f.integer() >= size) f.malformed("no such token");
        return int32_t(f.integer());
    }
};

std::vector<Type> read_tokens(const Source& source, BpeTokenizer& t) {
    const JsonField names = source.field("tokenizer.ggml.tokens"), types = source.field("tokenizer.ggml.token_type");
    const size_t count = names.items(Json::Kind::array).size();
    if (types && types.items(Json::Kind::array).size() != count) types.malformed("not as many as there are tokens");
    std::vector<Type> result(count, Type::normal);
    t.vocabulary.resize(count);
    for (size_t i = 0; i < count; ++i) {
        const std::string_view name = names.value->items()[i].string();
        if (name.empty()) names.item(i).malformed("a token without letters");
        if (!t.vocabulary.set(int32_t(i), name)) {
            fail(Status::duplicate, Place{source.file, names.pointer}, "token %zu has the letters of an earlier one",
                 i);
        }
        if (!types) continue;
        const Json& type = types.value->items()[i];
        if (!type.is(Json::Kind::integer) || type.integer < 1 || type.integer > 6)
            types.item(i).malformed("no token type");
        result[i] = Type(type.integer);
        if (result[i] == Type::control) t.vocabulary.set_special(int32_t(i));
    }
    return result;
}

void read_ends(const Source& source, bool bos_by_default, BpeTokenizer& t) {
    t.bos = source.token("tokenizer.ggml.bos_token_id", t.size());
    t.eos = source.token("tokenizer.ggml.eos_token_id", t.size());
    const int32_t unknown = source.token("tokenizer.ggml.unknown_token_id", t.size());
    if (t.unknown < 0) t.unknown = unknown;
    if (t.bos >= 0 && source.field("tokenizer.ggml.add_bos_token").boolean_or(bos_by_default)) t.before = {t.bos};
    if (t.eos >= 0 && source.field("tokenizer.ggml.add_eos_token").boolean_or(false)) t.after = {t.eos};
}

// Scores as ranks: the highest is 0, equal ones are equal.
std::vector<uint32_t> read_ranks(const Source& source, size_t count) {
    const JsonField field = source.field("tokenizer.ggml.scores");
    if (field.items(Json::Kind::array).size() != count) field.malformed("not as many as there are tokens");
    std::vector<double> scores(count);
    for (size_t i = 0; i < count; ++i) {
        const Json& score = field.value->items()[i];
        if (!score.number() || !std::isfinite(score.as_real())) field.item(i).malformed("expected a finite number");
        scores[i] = score.as_real();
    }
    std::vector<double> order = scores;
    std::sort(order.begin(), order.end(), std::greater<>());
    order.erase(std::unique(order.begin(), order.end()), order.end());
    std::vector<uint32_t> ranks(count);
    for (size_t i = 0; i < count; ++i) {
        ranks[i] = uint32_t(std::lower_bound(order.begin(), order.end(), scores[i], std::greater<>()) - order.begin());
    }
    return ranks;
}

struct Pair {
    int32_t left, right, whole;
    Cuts::Crossing crossing;
};

// Every way to cut a token into two others. `defined`: user-defined tokens merge like others.
std::vector<Pair> pairs_of(const Source& source, const Vocabulary& vocabulary, const std::vector<Type>& types,
                           bool defined) {
    std::vector<Pair> pairs;
    const auto merges = [&](Type type) {
        return type == Type::normal || type == Type::unused || (defined && type == Type::user_defined);
    };
    const auto part = [&](std::string_view name) {
        const auto id = vocabulary.find(name);
        return id && merges(types[size_t(*id)]) ? *id : -1;
    };
    for (int32_t id = 0; id < vocabulary.size(); ++id) {
        const Type type = types[size_t(id)];
        if (!merges(type)) continue;
        const std::string_view name = vocabulary.name(id);
        if (name.size() > 1024) {
            fail(Status::limit, Place{source.file, "tokenizer.ggml.tokens"}, "token %d has more than 1024 bytes", id);
        }
        size_t characters = 0, made = pairs.size();
        for (size_t at = 0; at < name.size(); ++characters) {
            const Utf8Char c = utf8_at(name, at);
            at += c.length;
            if (at == name.size()) continue;
            const int32_t left = part(name.substr(0, at)), right = part(name.substr(at));
            if (left < 0 || right < 0) continue;
            pairs.push_back({left, right, id, {utf8_before(name, at).code, utf8_at(name, at).code}});
        }
        // sentencepiece would let such a token arise and then take it apart again.
        if (type == Type::unused && (characters == 1 || pairs.size() > made)) {
            fail(Status::unsupported, Place{source.file, "tokenizer.ggml.token_type"}, "unused token %d could arise",
                 id);
        }
    }
    return pairs;
}

// Where tokenizer.json puts a space, and what decoding takes off again.
void read_space_prefix(const JsonField& prefix, BpeTokenizer& t) {
    using Where = BpeTokenizer::Prefix::Where;
    using Step = Normalizer::Step;
    t.decoding.invalid = Decoding::Invalid::run;
    t.decoding.leading = prefix.string() == "never" ? Decoding::Leading::keep : Decoding::Leading::text;
    if (prefix.string() == "each") {
        t.normalizer.steps = {{Step::Kind::prepend, {}, std::string(metaspace)},
                              {Step::Kind::replace, " ", std::string(metaspace)}};
        return;
    }
    constexpr std::pair<std::string_view, Where> places[] = {
        {"never", Where::never}, {"first", Where::first}, {"always", Where::always}};
    const auto* place = std::find_if(std::begin(places), std::end(places),
                                     [&](const auto& known) { return known.first == prefix.string(); });
    if (place == std::end(places)) prefix.unsupported(prefix.string());
    t.spaces_to_metaspace = true;
    t.prefix = {place->second, metaspace};
}

// By sentencepiece's rules user-defined tokens are found in the text once spaces are U+2581, and never merge; by
// tokenizer.json's they are found in the text as it came, and merges may make them.
void read_llama(const Source& source, BpeTokenizer& t) {
    const JsonField prefix = source.field(space_prefix_key);
    const std::vector<Type> types = read_tokens(source, t);
    const std::vector<uint32_t> ranks = read_ranks(source, types.size());
    BpeModel& model = t.model;
    model.fuse_unknown = true;
    model.symbols.assign(0x10000, -1);
    for (int32_t id = 0; id < t.size(); ++id) {
        const Type type = types[size_t(id)];
        const std::string name(t.vocabulary.name(id));
        if (type == Type::control) t.added.add({name, id, true});
        if (type == Type::user_defined) (prefix ? t.added : t.normalized).add({name, id});
        if (type == Type::unknown) {
            t.unknown = model.unknown = id;
            if (prefix) {
                t.vocabulary.set_special(id);
                t.added.add({name, id, true});
            } else {
                t.vocabulary.set_bytes(id, unknown_surface);
            }
        }
        if (type == Type::byte) {
            const int byte = fallback_byte(name);
            if (byte < 0) source.field("tokenizer.ggml.tokens").item(size_t(id)).malformed("no byte's name");
            t.vocabulary.set_byte(id, uint8_t(byte));
            model.bytes[size_t(byte)] = id;
        }
        if (type == Type::normal || type == Type::user_defined)
            t.vocabulary.set_bytes(id, replaced(name, metaspace, " "));
        const Utf8Char c = utf8_at(name, 0);
        const bool merges = type == Type::normal || (prefix && type == Type::user_defined);
        if (merges && c.length == name.size() && c.valid() && c.code < 0x10000) model.symbols[c.code] = id;
    }
    const std::vector<Pair> pairs = pairs_of(source, t.vocabulary, types, bool(prefix));
    model.merges = MergeTable(pairs.size());
    std::vector<Cuts::Crossing> crossings;
    for (const Pair& p : pairs) {
        model.merges.set(p.left, p.right, {ranks[size_t(p.whole)], p.whole});
        crossings.push_back(p.crossing);
    }
    model.build_cuts(std::move(crossings));
    using Step = Normalizer::Step;
    if (prefix) {
        read_space_prefix(prefix, t);
    } else {
        t.normalizer.steps = {{Step::Kind::replace, " ", std::string(metaspace)}};
        if (source.field("tokenizer.ggml.add_space_prefix").boolean_or(true)) {
            t.normalizer.steps.insert(t.normalizer.steps.begin(), {Step::Kind::prepend, {}, std::string(metaspace)});
            t.decoding.leading = Decoding::Leading::piece;
        }
    }
    read_ends(source, true, t);
}

void read_pre(const Source& source, BpeTokenizer& t) {
    const JsonField pre = source.field("tokenizer.ggml.pre");
    if (!pre) pre.unsupported("a gpt2 vocabulary that does not say how to split text");
    const std::string_view name = pre.string();
    if (name == "gpt-2") {
        t.splits = {Split::gpt2};
    } else if (name == "smollm") {
        t.splits = {Split::digits, Split::gpt2};
    } else if (name == "llama-bpe" || name == "llama3" || name == "llama-v3") {
        t.splits = {Split::llama3};
        t.model.ignore_merges = true;
    } else {
        pre.unsupported(name);
    }
}

void read_gpt2(const Source& source, BpeTokenizer& t) {
    read_pre(source, t);
    if (const JsonField space = source.field("tokenizer.ggml.add_space_prefix"); space.boolean_or(false)) {
        space.unsupported("a leading space of a gpt2 vocabulary");
    }
    const std::vector<Type> types = read_tokens(source, t);
    t.model.byte_level = true;
    for (int32_t id = 0; id < t.size(); ++id) {
        const std::string name(t.vocabulary.name(id));
        t.vocabulary.set_bytes(id, byte_level_bytes(name));
        if (types[size_t(id)] == Type::control) t.added.add({name, id, true});
        if (types[size_t(id)] == Type::user_defined) t.added.add({name, id});
    }
    for (int b = 0; b < 256; ++b) {
        const char byte = char(b);
        const auto id = t.vocabulary.find(byte_level_name({&byte, 1}));
        if (id && !t.vocabulary.special(*id)) t.model.bytes[size_t(b)] = *id;
    }
    read_merges(source.field("tokenizer.ggml.merges"), t.vocabulary, t.model);
    read_ends(source, false, t);
}

}  // namespace

std::shared_ptr<Tokenizer> read_gguf_vocabulary(const Json& metadata, std::string_view file) {
    const Source source{metadata, file};
    const JsonField model = source.field("tokenizer.ggml.model");
    const auto tokenizer = std::make_shared<BpeTokenizer>();
    if (model.string() == "llama")
        read_llama(source, *tokenizer);
    else if (model.string() == "gpt2")
        read_gpt2(source, *tokenizer);
    else
        model.unsupported(model.string());
    return tokenizer;
}

}  // namespace alia
