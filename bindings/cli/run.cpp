// alia run: an answer, or the continuation of a text.
#include <chrono>
#include <optional>
#include <sys/resource.h>

#include "bindings/cli/commands.h"
#include "bindings/cli/json.h"
#include "bindings/cli/language.h"
#include "bindings/cli/terminal.h"

namespace cli {
namespace {

struct Options {
    ModelChoice model;
    std::optional<std::string> prompt, system;
    bool raw = false, json = false;
    int64_t context = 4096;
    int32_t cache = ALIA_CACHE_AUTO;
    alia_request_options request = ALIA_REQUEST_OPTIONS_INIT;
};

struct Prompt {
    std::vector<int32_t> ids, stop;
};

// A turn of the checkpoint's chat template, or of ChatML where the vocabulary speaks it; else the text as it stands.
// What the user wrote never becomes a special token.
Prompt make_prompt(alia_model* model, const Options& o, std::string_view text) {
    if (!o.raw) {
        std::vector<Message> messages;
        if (o.system) messages.push_back({"system", *o.system});
        messages.push_back({"user", std::string(text)});
        if (auto ids = encode_chat(model, json_of(messages))) return {std::move(*ids), turn_ends(model)};
        if (o.system)
            throw Failure(
                "--system needs a chat template, or a vocabulary with <|im_start|> and <|im_end|>; leave it out");
    }
    return {encode(model, {{text, ALIA_PART_LITERAL}}, true), {}};
}

using Clock = std::chrono::steady_clock;
double seconds(Clock::time_point from, Clock::time_point to) {
    return std::chrono::duration<double>(to - from).count();
}

struct Answer {
    std::string text;
    std::vector<int32_t> ids;
    int32_t finish = ALIA_FINISH_NONE;
    int64_t prompt_tokens = 0, generated_tokens = 0;
    double load = 0, prompt = 0, generation = 0;  // seconds: until the first token, and from it to the last

    double prompt_speed() const { return prompt > 0 ? double(prompt_tokens) / prompt : 0; }
    double speed() const { return generation > 0 ? double(generated_tokens - 1) / generation : 0; }
};

void take(Answer& answer, const alia_event& event, const Options& o) {
    check(event);
    if (event.kind == ALIA_EVENT_TOKEN) answer.ids.push_back(event.token);
    if (event.kind == ALIA_EVENT_FINISHED) {
        answer.finish = event.finish;
        answer.prompt_tokens = event.prompt_tokens;
        answer.generated_tokens = event.generated_tokens;
    }
    if (event.text_length == 0) return;
    answer.text.append(event.text, event.text_length);
    if (o.json) return;
    std::fwrite(event.text, 1, event.text_length, stdout);
    std::fflush(stdout);
}

Engine open_engine(alia_model* model, const Options& o) {
    alia_engine_options options = ALIA_ENGINE_OPTIONS_INIT;
    options.context = o.context;
    options.cache = o.cache;
    alia_engine* engine = nullptr;
    check(alia_engine_open(model, &options, &engine));
    return Engine(engine);
}

void generate(Answer& answer, alia_engine* engine, const Prompt& prompt, const Options& o) {
    alia_request_options options = o.request;
    options.stop = prompt.stop.data();
    options.stop_count = uint32_t(prompt.stop.size());
    const Clock::time_point start = Clock::now();
    Clock::time_point first = start, last = start;
    uint64_t request = 0;
    check(alia_engine_submit(engine, prompt.ids.data(), prompt.ids.size(), &options, &request));
    for (bool cancelled = false; answer.finish == ALIA_FINISH_NONE;) {
        if (interrupted() && !cancelled) {
            // Where its end already waits as an event, there is nothing left to cancel.
            if (alia_status status = alia_engine_cancel(engine, request); status != ALIA_NOT_FOUND) check(status);
            cancelled = true;
        }
        alia_event events[4] = {ALIA_EVENT_INIT, ALIA_EVENT_INIT, ALIA_EVENT_INIT, ALIA_EVENT_INIT};
        uint32_t count = 0;
        check(alia_engine_step(engine, events, 4, &count));
        for (uint32_t i = 0; i < count; ++i) {
            if (events[i].kind == ALIA_EVENT_TOKEN) {
                last = Clock::now();
                if (answer.ids.empty()) first = last;
            }
            take(answer, events[i], o);
        }
    }
    answer.prompt = seconds(start, answer.ids.empty() ? Clock::now() : first);
    answer.generation = seconds(first, last);
}

double peak_memory() {
    rusage usage = {};
    getrusage(RUSAGE_SELF, &usage);
    return double(usage.ru_maxrss) * 1024;
}

void print_json(const Answer& a, uint64_t seed) {
    std::printf(
        "{\"text\": %s, \"ids\": %s, \"finish\": \"%s\", \"prompt_tokens\": %lld, \"generated_tokens\": %lld, "
        "\"load_seconds\": %.6f, \"prompt_seconds\": %.6f, \"prompt_tokens_per_second\": %.3f, "
        "\"generation_seconds\": %.6f, \"generated_tokens_per_second\": %.3f, \"peak_memory_bytes\": %.0f, "
        "\"seed\": %llu}\n",
        json_string(a.text).c_str(), list(a.ids).c_str(), finish_name(a.finish), (long long)a.prompt_tokens,
        (long long)a.generated_tokens, a.load, a.prompt, a.prompt_speed(), a.generation, a.speed(), peak_memory(),
        (unsigned long long)seed);
}

void print_summary(const Answer& a) {
    std::fputs(dim(), stderr);
    std::fprintf(
        stderr,
        tr("load %.2f s; prompt %lld tokens, %.1f tokens/s; generated %lld tokens, %.1f tokens/s; peak memory %s"),
        a.load, (long long)a.prompt_tokens, a.prompt_speed(), (long long)a.generated_tokens, a.speed(),
        human_bytes(peak_memory()).c_str());
    if (a.finish != ALIA_FINISH_STOP) std::fprintf(stderr, tr("; ended by %s"), finish_name(a.finish));
    std::fprintf(stderr, "%s\n", plain());
}

// The line break that a shell puts behind a piped text is not part of it.
std::string read_prompt() {
    std::string text = read_all(stdin, "standard input");
    if (text.ends_with('\n')) text.pop_back();
    return text;
}

int run(const Options& o) {
    const std::string text = o.prompt ? *o.prompt : read_prompt();
    watch_interrupt();
    Answer answer;
    const Clock::time_point start = Clock::now();
    const Model model = open_model(o.model);
    const Prompt prompt = make_prompt(model.get(), o, text);
    if (prompt.ids.empty()) throw Failure("the prompt is empty, and this tokenizer adds nothing around a text");
    const Engine engine = open_engine(model.get(), o);
    answer.load = seconds(start, Clock::now());
    generate(answer, engine.get(), prompt, o);
    if (o.json) {
        print_json(answer, o.request.seed);
    } else {
        std::fputc('\n', stdout);
        std::fflush(stdout);
        print_summary(answer);
    }
    return answer.finish == ALIA_FINISH_CANCELLED ? exit_interrupted : 0;
}

}  // namespace

void add_run(CLI::App& app, Run& chosen) {
    auto o = std::make_shared<Options>();
    CLI::App* command = app.add_subcommand("run", "Answer a prompt, or continue a text");
    add_model_options(*command, o->model);
    command->add_option("PROMPT", o->prompt, "the question or text (without it: standard input)");
    auto* system =
        command->add_option("--system", o->system, "the system message; without it the template's own, or none");
    command->add_flag("--raw", o->raw, "continue the text as it stands, without chat turns")->excludes(system);
    add_sampling_options(*command, o->request);
    command->add_option("--ctx", o->context, "positions of the KV cache")->capture_default_str();
    add_cache_option(*command, o->cache);
    command->add_flag("--json", o->json, "one JSON object on standard output instead of text and summary");
    command->footer(
        "Follows the checkpoint's chat template; without one, ChatML where the vocabulary has <|im_start|> and\n"
        "<|im_end|>. Special tokens written in PROMPT or --system stay plain letters. The first Ctrl-C ends the\n"
        "answer, the second the program.\n"
        "Examples:\n"
        "  alia run model.gguf \"What is the capital of Spain?\" --system \"Answer in one sentence.\"\n"
        "  alia run path/to/salamandra-2b --raw \"El mercat del barri\" -n 60 --temp 0.2\n"
        "  alia run model.gguf --json < question.txt");
    command->callback([o, &chosen] { chosen = [o] { return run(*o); }; });
}

}  // namespace cli
