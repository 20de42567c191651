// Conversations as text and tokens, by the template that a checkpoint brings.
#pragma once
#include <array>
#include <optional>

#include "engine/template_value.h"
#include "engine/tokenizer.h"

namespace alia {

struct ChatTemplate {
    std::string name;  // "default", or one of a list's: "tool_use", "rag", ...
    std::string text;
    std::string file;
};

// What a checkpoint says of conversations. Immutable, shared by threads.
struct Chat {
    std::vector<ChatTemplate> templates;                      // as published: none is parsed before it is used
    std::vector<std::pair<std::string, std::string>> tokens;  // what templates call "bos_token", "eos_token", ...
    std::optional<Error> failure;  // why the templates could not be read: a reason to refuse chat, not the model
};

// Of an open checkpoint, or of the path of a directory, a GGUF file or a tokenizer's file. tokenizer_config.json,
// chat_template.jinja (which wins) and additional_chat_templates are read, or GGUF's tokenizer.chat_template. What is
// wrong with them becomes `failure`.
std::shared_ptr<const Chat> find_chat(const Checkpoint&, const JsonLimits& = {});
std::shared_ptr<const Chat> open_chat(const std::string& path, const JsonLimits& = {});

struct ChatOptions {
    enum class End : uint8_t {
        answer,  // where the assistant's next turn begins
        last,    // inside the last message, which is the start of a turn to be continued
        turn,    // behind the last message's turn
    };
    End end = End::answer;
    const Json* tools = nullptr;      // a list, or null
    const Json* variables = nullptr;  // an object of further variables, or null
    std::string_view name;            // of the template; empty: "tool_use" where there are tools, else "default"
    int64_t now = 0;                  // what strftime_now shows: seconds since 1970
};

// The text of `messages`, a list of objects that have a "role" each; of each of its bytes it is known whether it came
// from messages, tools or variables. Roles that every template knows ("user", ...) count as the template's own words,
// since some templates make special tokens of them. Without a template in the checkpoint it is ChatML as BSC trains it,
// if the vocabulary has its two tokens. Errors: not_found (no such template; no template and no ChatML),
// invalid_argument (the messages, or what the template refuses in them), malformed and unsupported (the template),
// limit.
jinja::Text render_chat(const Chat&, const Tokenizer&, const Json& messages, const ChatOptions&);

// The same as tokens. Special tokens come from the template's own words only. At the start there is exactly one BOS
// where the template or the tokenizer puts one.
std::vector<int32_t> encode_chat(const Chat&, const Tokenizer&, const Json& messages, const ChatOptions&);

// Tokens by which templates end an assistant's turn, as far as these ones name them and the vocabulary has them.
std::vector<int32_t> turn_ends(const Chat&, const Tokenizer&);

// ChatML with the tools of BSC's function-calling models.
extern const std::string_view chatml_template;

}  // namespace alia
