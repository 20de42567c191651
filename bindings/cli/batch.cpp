// alia batch: a file of requests, many at once; what is done is not lost.
#include <chrono>
#include <map>
#include <optional>

#include "bindings/cli/batch_request.h"
#include "bindings/cli/batch_results.h"
#include "bindings/cli/commands.h"
#include "bindings/cli/json.h"
#include "bindings/cli/language.h"
#include "bindings/cli/terminal.h"

namespace cli {
namespace {

struct Options {
    ModelChoice model;
    std::string file, out;
    std::optional<std::string> system;
    bool raw = false;
    int32_t parallel = 16;
    int64_t context = 4096, positions = 0;
    int32_t cache = ALIA_CACHE_AUTO;
    alia_request_options request = ALIA_REQUEST_OPTIONS_INIT;
};

struct InputLine {
    int64_t number;           // in the file, from 1
    std::string text, input;  // `input` is its fingerprint
};

// The fingerprint of what shapes the answers beside the lines and the model.
std::string options_fingerprint(const Options& o) {
    const alia_request_options& r = o.request;
    char text[300];
    std::snprintf(text, sizeof text, "%lld %.17g %.17g %d %.17g %llu %lld %d", (long long)r.max_tokens, r.temperature,
                  r.top_p, r.top_k, r.min_p, (unsigned long long)r.seed, (long long)o.context, o.raw);
    return fingerprint(text + (o.system ? " " + json_string(*o.system) : ""));
}

// The fingerprint of what answers: the state of a sequence without tokens is bound to the model's numbers, the cache's
// format and the device's kernels; a message's tokens tell of tokenizer and chat template.
std::string model_fingerprint(alia_model* model, alia_engine* engine) {
    uint64_t sequence = 0, length = 0;
    void* state = nullptr;
    check(alia_sequence_new(engine, &sequence));
    check(alia_sequence_save(engine, sequence, &state, &length));
    const std::unique_ptr<void, Free<void, alia_bytes_free>> owner(state);
    check(alia_sequence_free(engine, sequence));
    std::string what(static_cast<const char*>(state), length);
    try {
        if (const auto ids = encode_chat(model, "[" + json_of(Message{"user", "a"}) + "]")) what += list(*ids);
    } catch (const Failure& e) {  // a template may take no such message
        what += e.what();
    }
    return fingerprint(what);
}

std::vector<InputLine> read_input(const Options& o) {
    const std::string all = read_file(o.file);
    std::vector<InputLine> lines;
    int64_t number = 1;
    for (size_t at = 0; at < all.size(); ++number) {
        const size_t end = std::min(all.find('\n', at), all.size());
        std::string text = all.substr(at, end - at);
        at = end + 1;
        if (text.find_first_not_of(" \t\r") == text.npos) continue;
        std::string input = fingerprint(text);
        lines.push_back({number, std::move(text), std::move(input)});
    }
    return lines;
}

// Results of another input or under other options mean that the files do not belong together.
void check_same_command(const std::vector<InputLine>& lines, const BatchResults& results, const Options& o) {
    std::map<int64_t, std::string> inputs;
    for (const InputLine& line : lines) inputs[line.number] = line.input;
    const std::string options = options_fingerprint(o);
    for (const auto& [number, done] : results.done()) {
        if (const auto input = inputs.find(number); input == inputs.end() || input->second != done.input)
            throw Failure(o.out + ": its result of line " + std::to_string(number) + " is not of that line of " +
                          o.file + "; give another --out, or the same input");
        if (done.options != options)
            throw Failure(o.out + ": its result of line " + std::to_string(number) +
                          " is of other options (-n, --temp, --top-k, --top-p, --min-p, --seed, --ctx, --raw or "
                          "--system); give another --out, or the same options");
    }
}

void check_same_model(const std::string& model, const BatchResults& results, const Options& o) {
    for (const auto& [number, done] : results.done())
        if (done.model != model)
            throw Failure(o.out + ": its result of line " + std::to_string(number) +
                          " is of another model, --kv or kind of device; give another --out, or the same model");
}

std::vector<InputLine> without_results(std::vector<InputLine> lines, const BatchResults& results) {
    std::erase_if(lines, [&](const InputLine& line) { return results.done().contains(line.number); });
    return lines;
}

struct Running {
    const InputLine* line;
    std::string id, text;
};

class Batch {
  public:
    Batch(alia_model* model, alia_engine* engine, BatchResults& results, const Options& o)
        : model(model),
          engine(engine),
          results(results),
          o(o),
          stepper(engine),
          stops(turn_ends(model)),
          options_print(options_fingerprint(o)),
          model_print(model_fingerprint(model, engine)) {
        check_same_model(model_print, results, o);
    }

    size_t running() const { return requests.size(); }
    int64_t generated() const { return tokens; }

    // Queues a line's request; a line that cannot be one has its result at once.
    void submit(const InputLine& line) {
        std::string id = batch_id(line.text);
        try {
            BatchRequest r = read_batch_request(line.text, o.request);
            r.lend_stops();
            const std::vector<int32_t> ids = encode_request(r);
            if (ids.empty()) throw Failure("the prompt is empty, and this tokenizer adds nothing around a text");
            uint64_t number = 0;
            check(alia_engine_submit(engine, ids.data(), ids.size(), &r.options, &number));
            requests[number] = {&line, std::move(id), {}};
        } catch (const Failure& e) {
            if (!concerns_one_request(e.status)) throw;
            fail(line, id, e.status, e.what());
        }
    }

    void step() {
        for (const alia_event& event : stepper.step()) {
            Running& r = requests.at(event.request);
            r.text.append(event.text, event.text_length);
            if (event.kind != ALIA_EVENT_FINISHED) continue;
            finish(r, event);
            requests.erase(event.request);
        }
    }

  private:
    // Its tokens; sets what ends a turn where it is one.
    std::vector<int32_t> encode_request(BatchRequest& r) {
        if (r.messages.empty() && o.raw) return encode(model, {{r.prompt, ALIA_PART_LITERAL}}, true);
        std::string messages = r.messages;
        if (messages.empty()) messages = "[" + json_of(Message{"user", r.prompt}) + "]";
        if (o.system) messages.insert(messages.find('[') + 1, json_of(Message{"system", *o.system}) + ", ");
        if (auto ids = encode_chat(model, messages)) {
            r.options.stop = stops.data();
            r.options.stop_count = uint32_t(stops.size());
            return std::move(*ids);
        }
        if (o.system || !r.messages.empty())
            throw Failure("this model has no chat template; give \"prompt\"s, without --system", ALIA_UNSUPPORTED);
        return encode(model, {{r.prompt, ALIA_PART_LITERAL}}, true);
    }

    void append(const InputLine& line, bool failed, const std::string& members) {
        results.append(line.number, {line.input, options_print, model_print, failed}, members);
    }

    void fail(const InputLine& line, const std::string& id, alia_status status, std::string_view message) {
        append(line, true,
               "\"id\": " + id + ", \"error\": " + json_string(message) +
                   ", \"status\": " + json_string(alia_status_name(status)));
    }

    void finish(const Running& r, const alia_event& event) {
        if (event.finish == ALIA_FINISH_CANCELLED) return;  // left for the next run
        if (event.finish == ALIA_FINISH_ERROR)
            return fail(*r.line, r.id, event.status, {event.message, event.message_length});
        tokens += event.generated_tokens;
        append(*r.line, false,
               "\"id\": " + r.id + ", \"text\": " + json_string(r.text) + ", \"finish\": \"" +
                   finish_name(event.finish) + "\", \"prompt_tokens\": " + std::to_string(event.prompt_tokens) +
                   ", \"generated_tokens\": " + std::to_string(event.generated_tokens));
    }

    alia_model* model;
    alia_engine* engine;
    BatchResults& results;
    const Options& o;
    Stepper stepper;
    const std::vector<int32_t> stops;
    const std::string options_print, model_print;  // fingerprints
    std::map<uint64_t, Running> requests;
    int64_t tokens = 0;
};

// Runs the lines until they are done or an interrupt comes; gives the tokens that were generated. Without lines it only
// sees whether the results are of this model.
int64_t answer(const std::vector<InputLine>& lines, size_t done_before, BatchResults& results, const Options& o) {
    const Model model = open_model(o.model);
    alia_engine_options options = ALIA_ENGINE_OPTIONS_INIT;
    options.context = o.context;
    options.positions = o.positions;
    options.cache = o.cache;
    options.sequences = o.parallel;
    alia_engine* opened = nullptr;
    check(alia_engine_open(model.get(), &options, &opened));
    const Engine engine(opened);
    Batch batch(model.get(), engine.get(), results, o);
    ProgressBar bar(tr("answering"));
    const size_t ahead = 2 * size_t(o.parallel);  // so that a place that gets free is taken at once
    for (size_t next = 0; !interrupted() && (next < lines.size() || batch.running() > 0);) {
        while (next < lines.size() && batch.running() < ahead) batch.submit(lines[next++]);
        if (batch.running() > 0) batch.step();
        bar.show(int64_t(results.done().size()), int64_t(done_before + lines.size()));
    }
    return batch.generated();
}

int batch(const Options& o) {
    const std::vector<InputLine> input = read_input(o);
    BatchResults results(o.out);
    check_same_command(input, results, o);
    const std::vector<InputLine> lines = without_results(input, results);
    const size_t before = results.done().size();
    watch_interrupt();
    const auto start = std::chrono::steady_clock::now();
    int64_t tokens = 0;
    try {
        if (!input.empty()) tokens = answer(lines, before, results, o);
    } catch (const Failure& e) {
        if (e.status != ALIA_CANCELLED) throw;
    }
    results.sync();
    const size_t done = results.done().size();
    size_t failed = 0;
    for (const auto& [number, line] : results.done()) failed += line.failed;
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    std::fputs(dim(), stderr);
    std::fprintf(stderr, tr("%zu of %zu lines done, %zu of them now; %lld tokens generated, %.1f tokens/s"), done,
                 input.size(), done - before, (long long)tokens, double(tokens) / std::max(seconds, 1e-9));
    std::fprintf(stderr, "%s\n", plain());
    if (failed > 0) {
        std::fprintf(stderr, "%salia:%s ", red(), plain());
        std::fprintf(stderr, tr("failed: %zu; \"error\" in %s says why"), failed, o.out.c_str());
        std::fputc('\n', stderr);
    }
    if (done < input.size()) {
        std::fprintf(stderr, tr("interrupted; lines left: %zu. The same command goes on with them"),
                     input.size() - done);
        std::fputc('\n', stderr);
        return exit_interrupted;
    }
    return failed > 0 ? exit_error : 0;
}

}  // namespace

void add_batch(CLI::App& app, Run& chosen) {
    auto o = std::make_shared<Options>();
    CLI::App* command = app.add_subcommand("batch", "Answer a file of requests, many at once; can be interrupted");
    add_model_options(*command, o->model);
    command->add_option("FILE", o->file, "JSON Lines, a request each")->required();
    command->add_option("--out", o->out, "the results, JSON Lines; where it exists, what it lacks is added")
        ->required();
    auto* system = command->add_option("--system", o->system, "a system message before every line's");
    command->add_flag("--raw", o->raw, "each \"prompt\" is a text to continue, without chat turns")->excludes(system);
    add_sampling_options(*command, o->request);
    command->add_option("--parallel", o->parallel, "requests that run at once")
        ->check(CLI::Range(1, 1024))
        ->capture_default_str();
    command->add_option("--ctx", o->context, "positions of the longest request")->capture_default_str();
    command->add_option("--positions", o->positions, "of the KV cache, for all requests together (0: as --ctx)")
        ->capture_default_str();
    add_cache_option(*command, o->cache);
    command->footer(
        "A line is {\"prompt\": \"...\"} or {\"messages\": [{\"role\": \"user\", \"content\": \"...\"}]}, and may have "
        "an\n"
        "\"id\", \"stop\" texts, \"metadata\" (not read), and max_tokens, min_tokens, temperature, top_k, top_p, "
        "min_p,\n"
        "seed, priority, deadline (milliseconds) and repetition_, frequency_ and presence_penalty in place of the\n"
        "command's options. Results come in the order in which they are done: \"line\", fingerprints (\"input\", "
        "\"options\",\n"
        "\"model\"), \"id\", \"text\", \"finish\" and counts of tokens, or \"error\" and \"status\". The same command "
        "after an\n"
        "interruption goes on where it was; one with another input, other options or another model is refused. Exit "
        "code 1\n"
        "where a line failed.\n"
        "Examples:\n"
        "  alia batch model.gguf questions.jsonl --out answers.jsonl -n 200\n"
        "  alia batch model.gguf questions.jsonl --out answers.jsonl --parallel 32 --positions 32768");
    command->callback([o, &chosen] { chosen = [o] { return batch(*o); }; });
}

}  // namespace cli
