// Conversations.
#include <chrono>

#include "capi/model.h"

namespace alia::capi {
namespace {

// A conversation as the engine takes it, and the documents that it points into.
struct Conversation {
    JsonDocument messages, tools, variables;
    ChatOptions options;

    Conversation(const char* given_messages, uint64_t messages_length, const alia_chat_options* given) {
        const alia_chat_options o = read_options(given, ALIA_CHAT_OPTIONS_INIT, "options");
        check_range(o.end, ALIA_CHAT_ANSWER, ALIA_CHAT_CLOSED, "options.end");
        options.end = ChatOptions::End(o.end);
        messages = JsonDocument::parse(given_text(given_messages, messages_length, "messages"), "messages");
        options.tools = read(tools, given_text(o.tools, o.tools_length, "options.tools"), "options.tools");
        options.variables =
            read(variables, given_text(o.variables, o.variables_length, "options.variables"), "options.variables");
        options.name = given_text(o.template_name, o.template_name_length, "options.template_name");
        const auto clock = std::chrono::system_clock::now().time_since_epoch();
        options.now = o.now == -1 ? std::chrono::duration_cast<std::chrono::seconds>(clock).count() : o.now;
    }

  private:
    static const Json* read(JsonDocument& document, std::string_view text, const char* name) {
        if (text.empty()) return nullptr;
        document = JsonDocument::parse(text, name);
        return &document.root();
    }
};

}  // namespace
}  // namespace alia::capi

using namespace alia::capi;

alia_status alia_chat_render(alia_model* model, const char* messages, uint64_t messages_length,
                             const alia_chat_options* options, char** text, uint64_t* length) {
    return guard([&] {
        auto m = find_model(model);
        not_null(text, "text");
        not_null(length, "length");
        const Conversation c(messages, messages_length, options);
        give_text(alia::render_chat(*m->conversations(), m->text(), c.messages.root(), c.options).bytes, text, length);
    });
}

alia_status alia_chat_encode(alia_model* model, const char* messages, uint64_t messages_length,
                             const alia_chat_options* options, int32_t** ids, uint64_t* id_count) {
    return guard([&] {
        auto m = find_model(model);
        not_null(ids, "ids");
        not_null(id_count, "id_count");
        const Conversation c(messages, messages_length, options);
        give_ids(alia::encode_chat(*m->conversations(), m->text(), c.messages.root(), c.options), ids, id_count);
    });
}

alia_status alia_chat_stops(alia_model* model, int32_t** ids, uint64_t* id_count) {
    return guard([&] {
        auto m = find_model(model);
        not_null(ids, "ids");
        not_null(id_count, "id_count");
        std::vector<int32_t> ends = alia::turn_ends(*m->conversations(), m->text());
        if (m->model) std::erase_if(ends, [&](int32_t id) { return id >= m->model->config.vocabulary; });
        give_ids(ends, ids, id_count);
    });
}
