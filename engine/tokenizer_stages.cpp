// tokenizer.json: normaliser, pre-tokeniser, post-processor and decoder.
#include "engine/tokenizer_json.h"
#include "engine/utf8.h"

namespace alia {
namespace {

// {"String": "..."}: the only patterns of a Replace that are read.
std::string_view plain_pattern(const JsonField& pattern) {
    pattern.only({"String"});
    const std::string_view text = pattern.at("String").string();
    if (text.empty()) pattern.malformed("an empty pattern");
    return text;
}

// prepend_scheme, or add_prefix_space of older files.
BpeTokenizer::Prefix::Where prepend_scheme(const JsonField& step) {
    using Where = BpeTokenizer::Prefix::Where;
    const bool add = step.at("add_prefix_space").boolean_or(true);
    const JsonField scheme = step.at("prepend_scheme");
    const std::string_view name = scheme.string_or(add ? "always" : "never");
    if (!add && name != "never") scheme.malformed("it contradicts add_prefix_space");
    if (name == "always") return Where::always;
    if (name == "first") return Where::first;
    if (name != "never") scheme.unsupported(name);
    return Where::never;
}

void check_metaspace(const JsonField& step) {
    step.only({"type", "replacement", "add_prefix_space", "prepend_scheme", "split", "str_rep"});
    const JsonField replacement = step.at("replacement");
    if (replacement.string() != metaspace) replacement.unsupported(replacement.string());
}

void read_pre_tokenizer_step(const JsonField& step, bool first, bool last, BpeTokenizer& t) {
    const std::string_view type = step.type();
    if (type == "Metaspace") {
        check_metaspace(step);
        if (!first) step.unsupported("Metaspace after another step");
        t.spaces_to_metaspace = true;
        t.prefix = {prepend_scheme(step), metaspace};
        if (step.at("split").boolean_or(true)) t.splits.push_back(Split::metaspace);
    } else if (type == "ByteLevel") {
        step.only({"type", "add_prefix_space", "trim_offsets", "use_regex"});
        if (!last) step.unsupported("ByteLevel before another step");
        if (step.at("add_prefix_space").boolean_or(true)) {
            if (!first) step.at("add_prefix_space").unsupported("a space before each piece of an earlier step");
            t.prefix = {BpeTokenizer::Prefix::Where::always, " "};
        }
        if (step.at("use_regex").boolean_or(true)) t.splits.push_back(Split::gpt2);
        t.model.byte_level = true;
    } else if (type == "Digits") {
        step.only({"type", "individual_digits"});
        t.splits.push_back(step.at("individual_digits").boolean_or(false) ? Split::digits : Split::numbers);
    } else if (type == "Split") {
        step.only({"type", "pattern", "behavior", "invert"});
        const JsonField pattern = step.at("pattern").only({"Regex", "String"}).at("Regex");
        if (!pattern) step.at("pattern").unsupported("a pattern other than a regular expression");
        if (step.at("behavior").string() != "Isolated") step.at("behavior").unsupported(step.at("behavior").string());
        if (step.at("invert").boolean_or(false)) step.at("invert").unsupported("it");
        if (pattern.string() == gpt2_pattern)
            t.splits.push_back(Split::gpt2);
        else if (pattern.string() == llama3_pattern)
            t.splits.push_back(Split::llama3);
        else
            pattern.unsupported("this regular expression");
    } else {
        step.at("type").unsupported(type);
    }
}

void read_template(const JsonField& step, BpeTokenizer& t) {
    step.only({"type", "single", "pair", "special_tokens"});
    const JsonField single = step.at("single");
    std::vector<int32_t> before, after;
    bool text = false;
    for (size_t i = 0; i < single.items(Json::Kind::array).size(); ++i) {
        const JsonField part = single.item(i).only({"SpecialToken", "Sequence"});
        if (const JsonField sequence = part.at("Sequence")) {
            if (sequence.at("id").string() != "A" || text) sequence.unsupported("a text other than A, once");
            text = true;
            continue;
        }
        const std::string_view name = part.at("SpecialToken").at("id").string();
        const JsonField ids = step.at("special_tokens").at(name).at("ids");
        for (size_t k = 0; k < ids.items(Json::Kind::array).size(); ++k) {
            const int64_t id = ids.item(k).integer();
            if (id < 0 || id >= t.size() || !t.vocabulary.exists(int32_t(id))) ids.item(k).malformed("no such token");
            (text ? after : before).push_back(int32_t(id));
        }
    }
    if (!text) single.unsupported("a template without a text");
    t.before.insert(t.before.begin(), before.begin(), before.end());
    t.after.insert(t.after.end(), after.begin(), after.end());
}

struct DecoderState {
    std::vector<std::pair<std::string, std::string>> replacements;
    bool byte_level = false, fallback = false, fused = false;
};

void read_decoder_step(const JsonField& step, size_t position, DecoderState& state, Decoding& decoding) {
    const std::string_view type = step.type();
    const bool by_token = !state.byte_level && !state.fallback && !state.fused;
    if (type == "Replace" && by_token) {
        step.only({"type", "pattern", "content"});
        state.replacements.emplace_back(plain_pattern(step.at("pattern")), step.at("content").string());
    } else if (type == "Metaspace" && position == 0) {
        check_metaspace(step);
        if (prepend_scheme(step) != BpeTokenizer::Prefix::Where::never) decoding.leading = Decoding::Leading::spaces;
        state.replacements.emplace_back(metaspace, " ");
    } else if (type == "ByteLevel" && position == 0) {
        step.only({"type", "add_prefix_space", "trim_offsets", "use_regex"});
        state.byte_level = true;
    } else if (type == "ByteFallback" && by_token) {
        step.only({"type"});
        state.fallback = true;
        decoding.invalid = Decoding::Invalid::run;
    } else if (type == "Fuse") {
        step.only({"type"});
        state.fused = true;
    } else if (type == "Strip" && state.fused && decoding.leading == Decoding::Leading::keep) {
        step.only({"type", "content", "start", "stop"});
        if (step.at("stop").integer() != 0) step.at("stop").unsupported("stripping the end");
        decoding.leading = Decoding::Leading::text;
        decoding.strip = step.at("start").integer();
        decoding.stripped = step.at("content").string();
        const std::string& c = decoding.stripped;
        if (c.empty() || utf8_at(c, 0).length != c.size()) step.at("content").malformed("expected one character");
        if (decoding.strip < 0) step.at("start").malformed("expected a count");
    } else {
        step.unsupported(std::string(type) + " at this place");
    }
}

}  // namespace

void read_normalizer(const JsonField& field, Normalizer& normalizer) {
    for (const JsonField& step : field.steps("normalizers")) {
        const std::string_view type = step.type();
        if (type == "Prepend") {
            step.only({"type", "prepend"});
            normalizer.steps.push_back({Normalizer::Step::Kind::prepend, {}, std::string(step.at("prepend").string())});
        } else if (type == "Replace") {
            step.only({"type", "pattern", "content"});
            normalizer.steps.push_back({Normalizer::Step::Kind::replace, std::string(plain_pattern(step.at("pattern"))),
                                        std::string(step.at("content").string())});
        } else if (type == "NFC") {
            step.only({"type"});
            normalizer.steps.push_back({Normalizer::Step::Kind::nfc});
        } else {
            step.at("type").unsupported(type);
        }
    }
}

void read_pre_tokenizer(const JsonField& field, BpeTokenizer& t) {
    const auto steps = field.steps("pretokenizers");
    for (size_t i = 0; i < steps.size(); ++i) {
        read_pre_tokenizer_step(steps[i], i == 0, i + 1 == steps.size(), t);
    }
}

void read_post_processor(const JsonField& field, BpeTokenizer& t) {
    for (const JsonField& step : field.steps("processors")) {
        if (step.type() == "ByteLevel") continue;  // it moves offsets, which nobody here asks for
        if (step.type() != "TemplateProcessing") step.at("type").unsupported(step.type());
        read_template(step, t);
    }
    if (!t.before.empty()) t.bos = t.before.front();
    if (!t.after.empty()) t.eos = t.after.back();
}

void read_decoder(const JsonField& field, BpeTokenizer& t) {
    if (!field) field.unsupported("a file without a decoder");
    DecoderState state;
    const auto steps = field.steps("decoders");
    for (size_t i = 0; i < steps.size(); ++i) read_decoder_step(steps[i], i, state, t.decoding);
    for (int32_t id = 0; id < t.size(); ++id) {
        if (!t.vocabulary.exists(id)) continue;
        std::string text(t.vocabulary.name(id));
        if (state.byte_level) text = byte_level_bytes(text);
        for (const auto& [from, to] : state.replacements) {
            if (text.find(from) != text.npos) text = replaced(text, from, to);
        }
        const int byte = state.fallback ? fallback_byte(text) : -1;
        if (byte >= 0)
            t.vocabulary.set_byte(id, uint8_t(byte));
        else
            t.vocabulary.set_bytes(id, text);
    }
}

}  // namespace alia
