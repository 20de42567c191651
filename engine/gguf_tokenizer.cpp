// tokenizer.json and tokenizer.model to the vocabularies `llama` and `gpt2` of GGUF.
#include "engine/gguf_tokenizer.h"

#include <algorithm>

#include "engine/sentencepiece_walk.h"
#include "engine/tokenizer_json.h"
#include "engine/utf8.h"

namespace alia {
namespace {

enum Type : int32_t { normal = 1, unknown = 2, control = 3, user_defined = 4, unused = 5, byte = 6 };

struct Ggml {
    std::string model, pre, space_prefix;  // without a space_prefix the rules are sentencepiece's
    std::vector<std::string> tokens, merges;
    std::vector<float> scores;
    std::vector<int32_t> types;
    bool add_space_prefix = false, add_bos = false, add_eos = false;
    int32_t bos = -1, eos = -1, unknown = -1;

    int32_t find(std::string_view name) const {
        const auto at = std::find(tokens.begin(), tokens.end(), name);
        return at == tokens.end() ? -1 : int32_t(at - tokens.begin());
    }
};

using Notes = std::vector<std::string>;

// ---- tokenizer.json

using Step = Normalizer::Step;

bool is_prepend(const Step& s) { return s.kind == Step::Kind::prepend && s.to == metaspace; }
bool is_spaces(const Step& s) { return s.kind == Step::Kind::replace && s.from == " " && s.to == metaspace; }

// What space_prefix_key says of it; nothing where GGUF has no words for how it treats text.
std::string space_prefix(const BpeTokenizer& t) {
    using Where = BpeTokenizer::Prefix::Where;
    const auto& steps = t.normalizer.steps;
    if (t.model.ignore_merges || !t.splits.empty() || !(t.model.every_byte || t.model.fuse_unknown)) return {};
    if (t.spaces_to_metaspace && steps.empty() && (t.prefix.where == Where::never || t.prefix.text == metaspace))
        return t.prefix.where == Where::first ? "first" : t.prefix.where == Where::always ? "always" : "never";
    if (t.spaces_to_metaspace || t.prefix.where != Where::never) return {};
    if (steps.size() == 1 && is_spaces(steps[0])) return "never";
    if (steps.size() == 2 && is_prepend(steps[0]) && is_spaces(steps[1])) return "each";
    return {};
}

// The name by which llama.cpp knows how a byte-level tokenizer splits text, or nothing.
std::string pre_name(const BpeTokenizer& t) {
    if (!t.normalizer.empty() || t.prefix.where != BpeTokenizer::Prefix::Where::never) return {};
    const std::pair<std::vector<Split>, std::string> known[] = {
        {{Split::gpt2}, "gpt-2"}, {{Split::digits, Split::gpt2}, "smollm"}, {{Split::llama3}, "llama-bpe"}};
    for (const auto& [splits, name] : known)
        if (t.splits == splits && t.model.ignore_merges == (name == "llama-bpe")) return name;
    return {};
}

void note_decoder(const BpeTokenizer& t, const Ggml& g, Notes& notes) {
    const Decoding& d = t.decoding;
    const bool strips = d.leading == Decoding::Leading::text && d.strip == 1 && d.stripped == " ";
    const bool as_expected = g.space_prefix == "never" ? d.leading == Decoding::Leading::keep : strips;
    if (d.invalid != Decoding::Invalid::run || !as_expected)
        notes.push_back(
            "tokenizer.json's decoder treats the first space or broken characters in a way that GGUF does "
            "not tell; the text of tokens may differ there");
}

void read_added(const JsonField& list, Ggml& g, Notes& notes) {
    if (!list) return;
    bool strips = false;
    for (size_t i = 0; i < list.items(Json::Kind::array).size(); ++i) {
        const JsonField token = list.item(i);
        const bool special = token.at("special").boolean_or(false);
        g.types[size_t(token.at("id").integer())] = special ? control : user_defined;
        for (const char* key : {"lstrip", "rstrip", "single_word"}) strips |= token.at(key).boolean_or(false);
    }
    if (strips)
        notes.push_back("added tokens that take spaces along or stand only between words do so no more in GGUF");
}

void read_json_merges(const JsonField& merges, std::vector<std::pair<std::string, std::string>>& pairs) {
    for (const Json& merge : merges.items(Json::Kind::array)) {
        if (merge.is(Json::Kind::array)) {
            pairs.emplace_back(merge.items()[0].string(), merge.items()[1].string());
        } else if (const auto text = merge.string(); !text.starts_with("#version")) {
            pairs.emplace_back(text.substr(0, text.find(' ')), text.substr(text.find(' ') + 1));
        }
    }
}

// A token's score is minus its place in the order in which merges first make tokens.
void rank(const std::vector<std::pair<std::string, std::string>>& merges, const Vocabulary& vocabulary, Ggml& g) {
    constexpr float none = 1;
    std::vector<float> scores(g.tokens.size(), none);
    int made = 0;
    for (const auto& [left, right] : merges) {
        float& score = scores[size_t(*vocabulary.find(left + right))];
        if (score == none) score = -float(made++);
    }
    for (size_t i = 0; i < scores.size(); ++i) g.scores[i] = scores[i] != none ? scores[i] : -float(made);
}

Ggml from_json(const std::string& path, const JsonLimits& limits, Notes& notes) {
    const auto file = File::open(path);
    const auto tokenizer =
        std::static_pointer_cast<const BpeTokenizer>(read_tokenizer_json(file->text(), path, limits));
    const BpeTokenizer& t = *tokenizer;
    const JsonDocument document = JsonDocument::parse(file->text(), path, limits);
    const JsonField root{&document.root(), "", path};

    Ggml g;
    g.types.assign(size_t(t.size()), normal);
    g.scores.assign(size_t(t.size()), 0);
    for (int32_t id = 0; id < t.size(); ++id) {
        g.tokens.emplace_back(t.vocabulary.name(id));
        if (!t.model.byte_level && t.vocabulary.byte(id)) g.types[size_t(id)] = byte;
    }
    read_added(root.at("added_tokens"), g, notes);
    for (size_t id = 0; id < g.tokens.size(); ++id)
        if (g.tokens[id].empty()) g.tokens[id] = "[PAD" + std::to_string(id) + "]", g.types[id] = unused;

    std::vector<std::pair<std::string, std::string>> merges;
    read_json_merges(root.at("model").at("merges"), merges);
    if (t.model.byte_level) {
        g.model = "gpt2";
        g.pre = pre_name(t);
        if (g.pre.empty()) root.at("pre_tokenizer").unsupported("in GGUF, this way of splitting text");
        for (const auto& [left, right] : merges) g.merges.push_back(left + " " + right);
        g.scores.clear();
    } else {
        g.model = "llama";
        g.pre = "default";
        g.space_prefix = space_prefix(t);
        if (g.space_prefix.empty()) root.at("pre_tokenizer").unsupported("in GGUF, this way of splitting text");
        g.add_space_prefix = g.space_prefix == "each" || g.space_prefix == "always";
        if (g.space_prefix == "first")
            notes.push_back(
                "llama.cpp cannot put a space before the first word alone and so puts none: there, a text "
                "that no special token precedes should begin with a space");
        rank(merges, t.vocabulary, g);
        if (t.unknown >= 0) g.types[size_t(t.unknown)] = unknown;
        note_decoder(t, g, notes);
    }
    if (t.before.size() > 1 || t.after.size() > 1)
        root.at("post_processor").unsupported("in GGUF, more than one token around a text");
    g.add_bos = !t.before.empty();
    g.add_eos = !t.after.empty();
    g.bos = t.bos;
    g.eos = t.eos;
    g.unknown = t.unknown;
    return g;
}

// ---- tokenizer.model

Ggml from_model(const std::string& path, Notes& notes) {
    const auto file = File::open(path);
    const SentencePieceFile model = walk_sentencepiece(file->text(), path);
    Ggml g;
    g.model = "llama";
    g.pre = "default";
    for (const auto& piece : model.pieces) {
        g.tokens.emplace_back(piece.text);
        g.scores.push_back(piece.score);
        g.types.push_back(int32_t(piece.type));
        if (piece.type == SentencePieceFile::Type::unknown) g.unknown = int32_t(g.tokens.size()) - 1;
    }
    g.bos = g.find(model.bos);
    g.eos = g.find(model.eos);
    g.add_bos = g.bos >= 0;
    g.add_space_prefix = model.add_dummy_prefix;
    if (model.normalizes || model.remove_extra_whitespaces)
        notes.push_back(
            "tokenizer.model normalises texts, which GGUF does not tell: characters in unusual forms may "
            "become other tokens");
    return g;
}

// ---- What stands beside it

// "bos_token" and the like of tokenizer_config.json: a string, or an added token.
int32_t named(const Ggml& g, const Json& config, const char* key) {
    const Json* name = config.find(key);
    if (name && name->is(Json::Kind::object)) name = name->find("content");
    return name && name->is(Json::Kind::string) ? g.find(name->string()) : -1;
}

std::string chat_template(const std::string& directory, const Json& config, Notes& notes) {
    const std::string path = directory + "/chat_template.jinja";
    if (file_exists(path)) return std::string(File::open(path)->text());
    const Json* given = config.find("chat_template");
    if (!given || given->is(Json::Kind::string)) return given ? std::string(given->string()) : "";
    // Several: [{"name": "default", "template": "..."}, ...].
    for (const Json& one : given->items()) {
        const Json *name = one.find("name"), *text = one.find("template");
        if (!name || name->string() != "default" || !text) continue;
        if (given->count > 1) notes.push_back("of several chat templates the default one was taken");
        return std::string(text->string());
    }
    return {};
}

void fill_up(Ggml& g, const Config& c, const std::string& path) {
    const auto rows = size_t(c.vocabulary);
    if (g.tokens.size() > rows)
        fail(Status::limit, {path}, "%zu tokens, and the embedding table has %zu rows", g.tokens.size(), rows);
    for (size_t id = g.tokens.size(); id < rows; ++id) {
        g.tokens.push_back("[PAD" + std::to_string(id) + "]");
        g.types.push_back(unused);
        if (!g.scores.empty()) g.scores.push_back(g.scores.back());
    }
}

void write_ids(GgufWriter& w, const Ggml& g, const Config& c, const Json& names, std::string_view chat) {
    const auto id = [&](const char* key, int32_t token) {
        if (token >= 0) w.integer(key, uint32_t(token));
    };
    const auto or_else = [](int32_t first, int32_t second) { return first >= 0 ? first : second; };
    const int32_t bos = or_else(named(g, names, "bos_token"), or_else(c.bos, g.bos));
    const int32_t config_eos = c.eos.empty() ? -1 : c.eos[0];
    const int32_t eos = g.add_eos ? g.eos : or_else(config_eos, or_else(named(g, names, "eos_token"), g.eos));
    int32_t turn = -1;  // what ends a turn, where that is another token
    for (int32_t end : c.eos)
        if (end != eos && turn < 0) turn = end;
    constexpr std::string_view chatml_end = "<|im_end|>";
    if (turn < 0 && chat.find(chatml_end) != chat.npos) turn = g.find(chatml_end);
    id("tokenizer.ggml.bos_token_id", g.add_bos ? g.bos : bos);
    id("tokenizer.ggml.eos_token_id", eos);
    if (turn != eos) id("tokenizer.ggml.eot_token_id", turn);
    id("tokenizer.ggml.unknown_token_id", or_else(named(g, names, "unk_token"), g.unknown));
    id("tokenizer.ggml.padding_token_id", named(g, names, "pad_token"));
}

}  // namespace

void write_tokenizer(GgufWriter& w, const std::string& directory, const Config& c, const JsonLimits& limits,
                     Notes& notes) {
    const std::string json = directory + "/tokenizer.json", model = directory + "/tokenizer.model";
    const std::string config_path = directory + "/tokenizer_config.json";
    const std::string& path = file_exists(json) ? json : model;
    if (!file_exists(path)) {
        notes.push_back("the source came without a tokenizer, and so does the result");
        return;
    }
    Ggml g = file_exists(json) ? from_json(json, limits, notes) : from_model(model, notes);
    fill_up(g, c, path);
    JsonDocument config;
    if (file_exists(config_path)) config = JsonDocument::parse(File::open(config_path)->text(), config_path, limits);
    const std::string chat = chat_template(directory, config.root(), notes);

    w.text("tokenizer.ggml.model", g.model);
    w.text("tokenizer.ggml.pre", g.pre);
    w.texts("tokenizer.ggml.tokens", g.tokens);
    if (!g.scores.empty()) w.reals("tokenizer.ggml.scores", g.scores);
    w.integers("tokenizer.ggml.token_type", g.types);
    if (!g.merges.empty()) w.texts("tokenizer.ggml.merges", g.merges);
    write_ids(w, g, c, config.root(), chat);
    w.boolean("tokenizer.ggml.add_bos_token", g.add_bos);
    w.boolean("tokenizer.ggml.add_eos_token", g.add_eos);
    if (g.model == "llama") w.boolean("tokenizer.ggml.add_space_prefix", g.add_space_prefix);
    if (!g.space_prefix.empty()) w.text(space_prefix_key, g.space_prefix);
    if (!chat.empty()) w.text("tokenizer.chat_template", chat);
}

}  // namespace alia
