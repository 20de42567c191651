// alia.h with owners and exceptions.
#include "bindings/cli/client.h"

#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <iterator>

#include "bindings/cli/language.h"
#include "bindings/cli/terminal.h"

namespace cli {
namespace {

using Ids = std::unique_ptr<int32_t, Free<int32_t, alia_ids_free>>;

}  // namespace

void check(alia_status status) {
    if (status != ALIA_OK) throw Failure(alia_error_message(), status);
}

void check(const alia_event& event) {
    if (event.finish == ALIA_FINISH_ERROR)
        throw Failure(std::string(event.message, event.message_length), event.status);
}

bool concerns_one_request(alia_status s) {
    return s == ALIA_INVALID_ARGUMENT || s == ALIA_NOT_FOUND || s == ALIA_IO || s == ALIA_MALFORMED ||
           s == ALIA_UNSUPPORTED || s == ALIA_LIMIT || s == ALIA_CONTEXT_FULL;
}

alia_model_options options_of(const ModelChoice& choice, int32_t load) {
    alia_model_options options = ALIA_MODEL_OPTIONS_INIT;
    options.load = load;
    options.device = choice.device.data();
    options.device_length = choice.device.size();
    options.threads = choice.threads;
    if (choice.pin) options.flags |= ALIA_MODEL_PIN_THREADS;
    return options;
}

int32_t show_progress(void* bar, const alia_progress* p) {
    static_cast<ProgressBar*>(bar)->show(p->done, p->total);
    return interrupted() ? 1 : 0;
}

Model open_model(const ModelChoice& choice, int32_t load) {
    ProgressBar bar(tr("loading"));
    alia_model_options options = options_of(choice, load);
    options.progress = show_progress;
    options.user = &bar;
    alia_model* model = nullptr;
    check(alia_model_open(choice.path.data(), choice.path.size(), &options, &model));
    return Model(model);
}

std::vector<int32_t> encode(alia_model* model, const std::vector<TextPart>& parts, bool add_special) {
    std::vector<alia_text_part> given;
    for (const TextPart& part : parts) {
        alia_text_part p = ALIA_TEXT_PART_INIT;
        p.kind = part.kind;
        p.text = part.text.data();
        p.length = part.text.size();
        given.push_back(p);
    }
    int32_t* ids = nullptr;
    uint64_t count = 0;
    check(
        alia_model_encode(model, given.data(), given.size(), add_special ? ALIA_ENCODE_ADD_SPECIAL : 0, &ids, &count));
    Ids owner(ids);
    return {ids, ids + count};
}

std::optional<std::vector<int32_t>> encode_chat(alia_model* model, const std::string& messages) {
    int32_t* ids = nullptr;
    uint64_t count = 0;
    const alia_status status = alia_chat_encode(model, messages.data(), messages.size(), nullptr, &ids, &count);
    if (status == ALIA_NOT_FOUND) return {};
    check(status);
    const Ids owner(ids);
    return std::vector<int32_t>(ids, ids + count);
}

std::vector<int32_t> turn_ends(alia_model* model) {
    int32_t* ids = nullptr;
    uint64_t count = 0;
    check(alia_chat_stops(model, &ids, &count));
    const Ids owner(ids);
    return {ids, ids + count};
}

std::string decode(alia_model* model, const std::vector<int32_t>& ids, bool keep_special) {
    const uint32_t flags = keep_special ? ALIA_DECODE_KEEP_SPECIAL : 0;
    return text_from([&](char** text, uint64_t* length) {
        return alia_model_decode(model, ids.data(), ids.size(), flags, text, length);
    });
}

std::vector<int32_t> end_tokens(alia_model* model) {
    const int32_t* tokens = nullptr;
    uint64_t count = 0;
    check(alia_model_eos(model, &tokens, &count));
    return {tokens, tokens + count};
}

Stepper::Stepper(alia_engine* e) : engine(e) {
    const alia_event empty = ALIA_EVENT_INIT;
    events.fill(empty);
}

std::span<const alia_event> Stepper::step() {
    uint32_t count = 0;
    check(alia_engine_step(engine, events.data(), uint32_t(events.size()), &count));
    return std::span(events).first(count);
}

const char* finish_name(int32_t finish) {
    constexpr const char* names[] = {"none", "stop", "length", "context", "cancelled", "deadline", "error"};
    return finish >= 0 && finish < int32_t(std::size(names)) ? names[finish] : "unknown";
}

std::vector<int32_t> parse_ids(std::string_view text, const std::string& source) {
    constexpr std::string_view space = " \t\r\n\f\v";
    std::vector<int32_t> ids;
    for (size_t at = text.find_first_not_of(space); at != text.npos; at = text.find_first_not_of(space, at)) {
        const size_t end = std::min(text.find_first_of(space, at), text.size());
        int32_t id = 0;
        const auto [stop, error] = std::from_chars(text.data() + at, text.data() + end, id);
        if (error != std::errc() || stop != text.data() + end)
            throw Failure(source + ", byte " + std::to_string(at) + ": \"" +
                          std::string(text.substr(at, std::min<size_t>(end - at, 40))) + "\" is not a token id");
        ids.push_back(id);
        at = end;
    }
    return ids;
}

std::string read_all(std::FILE* file, const std::string& name) {
    std::string text;
    char buffer[65536];
    for (size_t n; (n = std::fread(buffer, 1, sizeof buffer, file)) > 0;) text.append(buffer, n);
    if (std::ferror(file)) throw Failure(name + ": " + std::strerror(errno), ALIA_IO);
    return text;
}

std::string read_file(const std::string& path) {
    std::unique_ptr<std::FILE, Free<std::FILE, std::fclose>> file(std::fopen(path.c_str(), "rbe"));
    if (!file) throw Failure(path + ": " + std::strerror(errno), ALIA_NOT_FOUND);
    return read_all(file.get(), path);
}

}  // namespace cli
