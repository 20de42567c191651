// alia chat: a conversation on a resident sequence.
#include <optional>

#include "bindings/cli/commands.h"
#include "bindings/cli/json.h"
#include "bindings/cli/language.h"
#include "bindings/cli/line_editor.h"
#include "bindings/cli/output_file.h"
#include "bindings/cli/terminal.h"

namespace cli {
namespace {

struct Options {
    ModelChoice model;
    std::optional<std::string> system;
    std::string load;
    bool json = false;
    int64_t context = 4096;
    int32_t cache = ALIA_CACHE_AUTO;
    alia_request_options request = ALIA_REQUEST_OPTIONS_INIT;
};

constexpr const char* help =
    "/reset        forget the conversation; the system message stays\n"
    "/save FILE    write the conversation as JSON\n"
    "/load FILE    take up a saved conversation\n"
    "/help         these lines\n"
    "/quit         leave (Ctrl-D too)\n"
    "Ctrl-C interrupts an answer; what was said of it stays. A line that starts with // is sent with one /.\n";

struct Answer {
    std::string text;
    int32_t finish = ALIA_FINISH_NONE;
    int64_t read_tokens = 0, kept_tokens = 0, generated_tokens = 0;
};

class Chat {
  public:
    Chat(alia_model* model, alia_engine* engine, const Options& o)
        : model(model), engine(engine), o(o), stepper(engine), stops(turn_ends(model)) {
        check(alia_sequence_new(engine, &sequence));
        reset();
    }

    void reset() {
        messages.clear();
        if (o.system) messages.push_back({"system", *o.system});
    }
    void save(const std::string& path) const {
        OutputFile file(path);
        file.write("{\"messages\": " + json_of(messages) + "}\n");
        file.finish();
    }
    void load(const std::string& path) { messages = messages_of(read_file(path), path); }
    const std::vector<Message>& all() const { return messages; }

    // After a failure the conversation is as it was before.
    Answer say(const std::string& text) {
        std::vector<Message> next = messages;
        next.push_back({"user", text});
        const auto ids = encode_chat(model, json_of(next));
        if (!ids)
            throw Failure(
                "this model has no chat template, nor <|im_start|> and <|im_end|>; use alia run --raw to continue "
                "texts",
                ALIA_UNSUPPORTED);
        uint64_t kept = 0;
        check(alia_sequence_keep(engine, sequence, ids->data(), ids->size(), &kept));
        Answer answer = generate(std::span(*ids).subspan(kept));
        answer.kept_tokens = int64_t(kept);
        next.push_back({"assistant", answer.text});
        messages = std::move(next);
        return answer;
    }

  private:
    Answer generate(std::span<const int32_t> ids) {
        alia_request_options options = o.request;
        options.sequence = sequence;
        options.stop = stops.data();
        options.stop_count = uint32_t(stops.size());
        uint64_t request = 0;
        check(alia_engine_submit(engine, ids.data(), ids.size(), &options, &request));
        Answer answer{.text = {}, .read_tokens = int64_t(ids.size())};
        for (bool cancelled = false; answer.finish == ALIA_FINISH_NONE;) {
            if (interrupted() && !std::exchange(cancelled, true)) {
                // Where its end already waits as an event, there is nothing left to cancel.
                const alia_status status = alia_engine_cancel(engine, request);
                if (status != ALIA_NOT_FOUND) check(status);
            }
            for (const alia_event& event : stepper.step()) take(answer, event);
        }
        return answer;
    }

    void take(Answer& answer, const alia_event& event) {
        answer.text.append(event.text, event.text_length);
        if (!o.json && event.text_length > 0) {
            std::fwrite(event.text, 1, event.text_length, stdout);
            std::fflush(stdout);
        }
        if (event.kind != ALIA_EVENT_FINISHED) return;
        check(event);
        answer.finish = event.finish;
        answer.generated_tokens = event.generated_tokens;
    }

    alia_model* model;
    alia_engine* engine;
    const Options& o;
    Stepper stepper;
    const std::vector<int32_t> stops;
    uint64_t sequence = 0;
    std::vector<Message> messages;
};

// A line for people, in their language.
template <class... T>
void notice(const char* format, T... values) {
    std::fputs(dim(), stderr);
    std::fprintf(stderr, tr(format), values...);
    std::fprintf(stderr, "%s\n", plain());
}

void print(const Answer& a, bool json) {
    if (json) {
        std::printf(
            "{\"text\": %s, \"finish\": \"%s\", \"kept_tokens\": %lld, \"read_tokens\": %lld, \"generated_tokens\": "
            "%lld}\n",
            json_string(a.text).c_str(), finish_name(a.finish), (long long)a.kept_tokens, (long long)a.read_tokens,
            (long long)a.generated_tokens);
    } else {
        std::fputc('\n', stdout);
        std::fflush(stdout);
        if (a.finish != ALIA_FINISH_STOP) notice("ended by %s", finish_name(a.finish));
    }
    std::fflush(stdout);
}

std::string told(const char* format, const std::string& command) {
    std::string text = tr(format);
    return text.replace(text.find("%s"), 2, command);
}

// False: leave.
bool obey(Chat& chat, const std::string& line) {
    const size_t space = line.find(' '), at = line.find_first_not_of(' ', space);
    const std::string command = line.substr(0, space), argument = at < line.size() ? line.substr(at) : "";
    auto file = [&] {
        if (argument.empty()) throw Failure(told("%s needs the name of a file", command));
        return argument;
    };
    if (command == "/quit") return false;
    if (command == "/help") {
        std::fputs(tr(help), stderr);
    } else if (command == "/reset") {
        chat.reset();
        notice("a new conversation");
    } else if (command == "/save") {
        chat.save(file());
        notice("%zu messages in %s", chat.all().size(), argument.c_str());
    } else if (command == "/load") {
        chat.load(file());
        notice("%zu messages from %s", chat.all().size(), argument.c_str());
    } else {
        throw Failure(told("%s is no command; /help lists them", command));
    }
    return true;
}

int chat(const Options& o) {
    const Model model = open_model(o.model);
    alia_engine_options options = ALIA_ENGINE_OPTIONS_INIT;
    options.context = o.context;
    options.cache = o.cache;
    options.sequences = 1;
    alia_engine* opened = nullptr;
    check(alia_engine_open(model.get(), &options, &opened));
    const Engine engine(opened);
    Chat chat(model.get(), engine.get(), o);
    if (!o.load.empty()) chat.load(o.load);
    LineEditor editor("chat", "> ");
    const bool person = editor.on_terminal();
    if (person) notice("/help lists what else than a message can be typed; Ctrl-D leaves");
    bool failed = false;
    for (;;) {
        watch_interrupts();
        std::optional<std::string> line = editor.read();
        if (!line) break;
        if (interrupted() && !person) return exit_interrupted;
        if (line->empty() || interrupted()) continue;
        try {
            if (line->starts_with("//"))
                line->erase(0, 1);
            else if (line->front() == '/') {
                if (!obey(chat, *line)) break;
                continue;
            }
            print(chat.say(*line), o.json);
        } catch (const Failure& e) {
            if (!concerns_one_request(e.status)) throw;
            failed = true;
            std::fprintf(stderr, "%salia:%s %s\n", red(), plain(), e.what());
            if (e.status == ALIA_CONTEXT_FULL) notice("/reset begins anew; --ctx makes room for longer conversations");
        }
    }
    return failed && !person ? exit_error : 0;
}

}  // namespace

void add_chat(CLI::App& app, Run& chosen) {
    auto o = std::make_shared<Options>();
    CLI::App* command = app.add_subcommand("chat", "Talk with a model");
    add_model_options(*command, o->model);
    command->add_option("--system", o->system, "the system message; without it the template's own, or none");
    command->add_option("--load", o->load, "a conversation that /save wrote");
    add_sampling_options(*command, o->request);
    command->add_option("--ctx", o->context, "positions of the KV cache: the longest conversation")
        ->capture_default_str();
    add_cache_option(*command, o->cache);
    command->add_flag("--json", o->json, "a JSON object for each answer, a line each");
    command->footer(
        "On a terminal lines can be edited and come back with the arrow keys, also those of earlier runs; elsewhere\n"
        "each line of standard input is a message. Only what is new of a conversation is processed. Lines that start\n"
        "with / are commands; /help lists them.\n"
        "Examples:\n"
        "  alia chat model.gguf\n"
        "  alia chat model.gguf --system \"Answer in one sentence.\" --temp 0.7 --ctx 16384");
    command->callback([o, &chosen] { chosen = [o] { return chat(*o); }; });
}

}  // namespace cli
