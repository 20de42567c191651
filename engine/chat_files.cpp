// Where checkpoints keep their chat templates.
#include "engine/attempt.h"
#include "engine/chat.h"

namespace alia {
namespace {

void add(Chat& chat, std::string name, std::string_view text, const std::string& file) {
    for (ChatTemplate& known : chat.templates)
        if (known.name == name) {
            known = {std::move(name), std::string(text), file};
            return;
        }
    chat.templates.push_back({std::move(name), std::string(text), file});
}

// A text, or a list of {"name": ..., "template": ...}.
void read_templates(Chat& chat, const Json* given, const std::string& file) {
    if (!given) return;
    if (given->is(Json::Kind::string)) return add(chat, "default", given->string(), file);
    if (!given->is(Json::Kind::array)) fail(Status::malformed, {file, "chat_template"}, "is neither a text nor a list");
    for (const Json& one : given->items()) {
        const Json *name = one.find("name"), *text = one.find("template");
        if (!name || !text || !name->is(Json::Kind::string) || !text->is(Json::Kind::string))
            fail(Status::malformed, {file, "chat_template"}, "an entry lacks its name or template");
        add(chat, std::string(name->string()), text->string(), file);
    }
}

void read_file(Chat& chat, const std::string& name, const std::string& path) {
    if (file_exists(path)) add(chat, name, File::open(path)->text(), path);
}

void read_directory(Chat& chat, const std::string& directory, const JsonLimits& limits) {
    if (const std::string path = directory + "/tokenizer_config.json"; file_exists(path)) {
        const auto file = File::open(path);
        const JsonDocument document = JsonDocument::parse(file->text(), path, limits);
        for (const char* key :
             {"bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token", "mask_token"}) {
            const Json* token = document.root().find(key);
            if (token && token->is(Json::Kind::object)) token = token->find("content");
            if (token && token->is(Json::Kind::string)) chat.tokens.emplace_back(key, token->string());
        }
        read_templates(chat, document.root().find("chat_template"), path);
    }
    read_file(chat, "default", directory + "/chat_template.jinja");
    for (const char* name : {"tool_use", "rag"})
        read_file(chat, name, directory + "/additional_chat_templates/" + name + ".jinja");
}

void read_metadata(Chat& chat, const Json& metadata, const std::string& file) {
    constexpr std::string_view key = "tokenizer.chat_template";
    if (const Json* text = metadata.find(key); text && text->is(Json::Kind::string))
        add(chat, "default", text->string(), file);
    for (const Json& value : metadata.items())
        if (value.key.starts_with(key) && value.key.substr(key.size()).starts_with('.') && value.is(Json::Kind::string))
            add(chat, std::string(value.key.substr(key.size() + 1)), value.string(), file);
    const Json* names = metadata.find("tokenizer.ggml.tokens");
    for (const char* token : {"bos", "eos", "unknown", "padding"}) {
        const Json* id = metadata.find("tokenizer.ggml." + std::string(token) + "_token_id");
        if (!names || !id || !id->is(Json::Kind::integer)) continue;
        if (id->integer < 0 || uint64_t(id->integer) >= names->items().size()) continue;
        const char* called = token[0] == 'u' ? "unk" : token[0] == 'p' ? "pad" : token;
        chat.tokens.emplace_back(std::string(called) + "_token", names->items()[size_t(id->integer)].string());
    }
}

template <class F>
std::shared_ptr<const Chat> reading(F&& read) {
    auto chat = std::make_shared<Chat>();
    chat->failure = attempt([&] { read(*chat); });
    if (!chat->failure) return chat;
    // What says nothing of the files: the system's failures.
    for (const Status passing : {Status::out_of_memory, Status::io, Status::internal})
        if (chat->failure->status == passing) throw *chat->failure;
    chat->templates.clear();
    return chat;
}

std::string folder_of(const std::string& path) {
    if (is_directory(path)) return path;
    const size_t slash = path.rfind('/');
    return slash == path.npos ? "." : path.substr(0, slash);
}

}  // namespace

std::shared_ptr<const Chat> find_chat(const Checkpoint& checkpoint, const JsonLimits& limits) {
    return reading([&](Chat& chat) {
        if (checkpoint.drawn) return;
        if (checkpoint.kind == Checkpoint::Kind::gguf)
            read_metadata(chat, checkpoint.metadata.root(), checkpoint.path);
        else
            read_directory(chat, folder_of(checkpoint.path), limits);
    });
}

std::shared_ptr<const Chat> open_chat(const std::string& path, const JsonLimits& limits) {
    return reading([&](Chat& chat) {
        if (is_directory(path)) {
            read_directory(chat, path, limits);
            if (file_exists(path + "/tokenizer.json") || file_exists(path + "/tokenizer.model")) return;
            chat = *find_chat(open_checkpoint(path, {limits, false}), limits);
        } else if (File::open(path)->text().starts_with("GGUF")) {
            chat = *find_chat(open_gguf(path, {limits, false}), limits);
        } else {
            read_directory(chat, folder_of(path), limits);
        }
    });
}

}  // namespace alia
