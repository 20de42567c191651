// Messages through a template to tokens.
#include "engine/chat.h"

#include <algorithm>

#include "engine/attempt.h"
#include "engine/template_render.h"

namespace alia {
namespace {

using jinja::Heap;
using jinja::Text;
using jinja::Value;

constexpr std::string_view chatml_start = "<|im_start|>", chatml_end = "<|im_end|>";

constexpr std::string_view known_roles[] = {"system",   "user",        "assistant", "tool",      "developer",
                                            "function", "observation", "ipython",   "documents", "model"};

void check_messages(const Json& messages) {
    if (!messages.is(Json::Kind::array)) fail(Status::invalid_argument, Place{{}, "messages"}, "are no list");
    for (const Json& message : messages.items()) {
        const Json* role = message.find("role");
        if (!role || !role->is(Json::Kind::string))
            fail(Status::invalid_argument, Place{{}, "messages"}, "number %td has no \"role\"",
                 &message - messages.items().data());
    }
}

Value message_values(Heap& heap, std::span<const Json> messages) {
    std::vector<Value> all;
    for (const Json& message : messages) {
        Value value = heap.value(message);
        jinja::Dict trusted = *value.dict;
        for (auto& [key, role] : trusted.items) {
            if (key.string() != "role") continue;
            const auto* known = std::find(std::begin(known_roles), std::end(known_roles), role.string());
            if (known != std::end(known_roles)) role = heap.text(*known);
        }
        all.push_back(heap.dict(std::move(trusted)));
    }
    return heap.list(std::move(all));
}

struct Chosen {
    std::string_view text, file;
};
Chosen chosen(const Chat& chat, const Tokenizer& tokenizer, const ChatOptions& options) {
    if (chat.failure) throw *chat.failure;
    auto find = [&](std::string_view name) -> std::optional<Chosen> {
        for (const ChatTemplate& t : chat.templates)
            if (t.name == name) return Chosen{t.text, t.file};
        return {};
    };
    if (!options.name.empty()) {
        if (const auto t = find(options.name)) return *t;
        fail(Status::not_found, Place{{}, "template_name"}, "the checkpoint has no chat template '%.*s'",
             int(std::min<size_t>(options.name.size(), 100)), options.name.data());
    }
    const bool tools = options.tools && !options.tools->items().empty();
    if (const auto t = tools ? find("tool_use") : std::nullopt) return *t;
    if (const auto t = find("default")) return *t;
    if (!chat.templates.empty())
        fail(Status::not_found, Place{{}, "template_name"},
             "the checkpoint has no default chat template; name one, as '%.100s'", chat.templates[0].name.c_str());
    if (tokenizer.find(chatml_start) && tokenizer.find(chatml_end)) return {chatml_template, "ChatML"};
    fail(Status::not_found, Place{{}, "chat_template"},
         "the checkpoint came without one, and its vocabulary is not ChatML's");
}

Text rendered(const Chat& chat, const Tokenizer& tokenizer, std::span<const Json> messages, const ChatOptions& options,
              bool prompt) {
    const Chosen source = chosen(chat, tokenizer, options);
    Heap heap{jinja::Limits{}};
    jinja::Dict variables;
    auto set = [&](std::string_view name, const Value& value) { variables.items.emplace_back(heap.text(name), value); };
    for (const auto& [name, text] : chat.tokens) set(name, heap.text(text));
    set("messages", message_values(heap, messages));
    set("add_generation_prompt", jinja::boolean(prompt));
    set("tools", options.tools ? heap.value(*options.tools) : jinja::none());
    set("documents", jinja::none());
    if (options.variables)
        for (const Json& v : options.variables->items()) set(v.key, heap.value(v));
    return jinja::render(jinja::Template::parse(source.text, source.file), heap, variables, options.now);
}

// The text that a message's last part of text holds.
std::string_view content_of(const Json& message) {
    const Json* content = message.find("content");
    if (!content) return {};
    if (content->is(Json::Kind::string)) return content->string();
    for (size_t i = content->items().size(); i-- > 0;)
        if (const Json* text = content->items()[i].find("text")) return text->string();
    return {};
}

std::string_view trimmed(std::string_view text) {
    const auto space = [](char c) { return c == ' ' || (c >= '\t' && c <= '\r'); };
    while (!text.empty() && space(text.front())) text.remove_prefix(1);
    while (!text.empty() && space(text.back())) text.remove_suffix(1);
    return text;
}

// Up to the end of the last message's content, which begins at `from` or behind and which templates may have trimmed.
Text up_to_content(Text text, std::string_view content, size_t from) {
    const std::string_view core = trimmed(content);
    const std::string_view behind = content.substr(size_t(core.data() - content.data()) + core.size());
    for (size_t at = text.bytes.rfind(core); at != std::string::npos && at >= from;
         at = at ? text.bytes.rfind(core, at - 1) : at - 1) {
        const auto covers = [&](const TextRange& r) { return r.begin <= at && r.end >= at + core.size(); };
        if (!std::any_of(text.input.begin(), text.input.end(), covers)) continue;
        const size_t end = at + core.size();
        const bool whole = text.bytes.compare(end, behind.size(), behind) == 0;
        Text cut;
        cut.append(text, 0, whole ? end + behind.size() : end);
        return cut;
    }
    fail(Status::invalid_argument, Place{{}, "messages"},
         "the template does not show the last message as it is, so it cannot be continued");
}

// What the tokenizer puts before a text.
std::optional<int32_t> added_bos(const Tokenizer& tokenizer) {
    const std::vector<int32_t> whole = tokenizer.encode("a"), bare = tokenizer.encode("a", {.add_special = false});
    const auto begin = std::search(whole.begin(), whole.end(), bare.begin(), bare.end());
    if (begin == whole.begin() || begin == whole.end()) return {};
    return whole[0];
}

int32_t named_bos(const Chat& chat, const Tokenizer& tokenizer) {
    for (const auto& [name, text] : chat.tokens)
        if (name == "bos_token") return tokenizer.find(text).value_or(tokenizer.bos);
    return tokenizer.bos;
}

}  // namespace

Text render_chat(const Chat& chat, const Tokenizer& tokenizer, const Json& messages, const ChatOptions& options) {
    check_messages(messages);
    if (options.tools && !options.tools->is(Json::Kind::array))
        fail(Status::invalid_argument, Place{{}, "tools"}, "are no list");
    if (options.variables && !options.variables->is(Json::Kind::object))
        fail(Status::invalid_argument, Place{{}, "variables"}, "are no object");
    const std::span<const Json> all = messages.items();
    if (options.end != ChatOptions::End::last)
        return rendered(chat, tokenizer, all, options, options.end == ChatOptions::End::answer);
    if (all.empty()) fail(Status::invalid_argument, Place{{}, "messages"}, "there is none to continue");
    const std::string_view content = content_of(all.back());
    if (trimmed(content).empty()) return rendered(chat, tokenizer, all.first(all.size() - 1), options, true);
    Text whole = rendered(chat, tokenizer, all, options, false);
    // What a conversation without it begins with, too, is not of the last message, even if it reads like it. Templates
    // may refuse one without it.
    size_t earlier = 0;
    attempt([&] {
        const std::string without = rendered(chat, tokenizer, all.first(all.size() - 1), options, false).bytes;
        const auto end = std::mismatch(without.begin(), without.end(), whole.bytes.begin(), whole.bytes.end()).first;
        earlier = size_t(end - without.begin());
    });
    return up_to_content(std::move(whole), content, earlier);
}

std::vector<int32_t> encode_chat(const Chat& chat, const Tokenizer& tokenizer, const Json& messages,
                                 const ChatOptions& options) {
    const Text text = render_chat(chat, tokenizer, messages, options);
    std::vector<int32_t> ids = tokenizer.encode(text.bytes, {.add_special = false, .literal = text.input});
    const std::optional<int32_t> added = added_bos(tokenizer);
    const int32_t bos = added ? *added : named_bos(chat, tokenizer);
    const auto other = std::find_if(ids.begin(), ids.end(), [&](int32_t id) { return id != bos; });
    const bool written = other != ids.begin();
    ids.erase(ids.begin(), other);
    if (written || added) ids.insert(ids.begin(), bos);
    return ids;
}

std::vector<int32_t> turn_ends(const Chat& chat, const Tokenizer& tokenizer) {
    std::vector<int32_t> ends;
    const bool chatml = chat.templates.empty();
    for (std::string_view name :
         {chatml_end, std::string_view("<|eot_id|>"), std::string_view("<|eom_id|>"), std::string_view("<end_of_turn>"),
          std::string_view("<|end|>"), std::string_view("<|end_of_text|>"), std::string_view("<|endoftext|>")}) {
        const auto names = [&](const ChatTemplate& t) { return t.text.find(name) != std::string::npos; };
        const bool named =
            chatml ? name == chatml_end : std::any_of(chat.templates.begin(), chat.templates.end(), names);
        if (const auto id = tokenizer.find(name); named && id) ends.push_back(*id);
    }
    return ends;
}

}  // namespace alia
