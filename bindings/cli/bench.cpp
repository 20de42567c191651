// alia bench: how fast a model is here, beside what the machine reaches at best.
#include "bindings/cli/commands.h"
#include "bindings/cli/json.h"
#include "bindings/cli/speed.h"
#include "bindings/cli/statistics.h"
#include "bindings/cli/terminal.h"

namespace cli {
namespace {

struct Options {
    std::string path, shape, type = "bf16";
    int layers = 0;
    std::vector<std::string> devices = {""};
    std::vector<int> threads = {0};
    SpeedPlan plan{.prompts = {512}, .contexts = {0}};
    bool json = false;
};

std::string label(const Speed& s) {
    const std::string tokens = std::to_string(s.tokens);
    if (s.prompt) return "prompt " + tokens;
    return "generate " + tokens + (s.context ? " after " + std::to_string(s.context) : "") +
           (s.streams > 1 ? ", " + std::to_string(s.streams) + " streams" : "");
}

Spread spread_of(const SpeedReport& r, double Roofs::*roof) {
    std::vector<double> values;
    for (const Roofs& one : r.roofs) values.push_back(one.*roof);
    return spread(values);
}

std::string list(const std::vector<double>& values) {
    std::string out = "[";
    for (double value : values) {
        char number[40];
        std::snprintf(number, sizeof number, "%s%.6g", out.size() > 1 ? ", " : "", value);
        out += number;
    }
    return out + "]";
}

void print_roofs_json(const SpeedReport& r) {
    std::printf("\"roofs\": {");
    const std::pair<const char*, double Roofs::*> fields[] = {
        {"read", &Roofs::read}, {"copy", &Roofs::copy}, {"upload", &Roofs::upload}, {"f32", &Roofs::f32},
        {"int8", &Roofs::int8}, {"bf16", &Roofs::bf16}, {"e4m3", &Roofs::e4m3}};
    for (auto [name, field] : fields)
        std::printf("%s\"%s\": %.6g", name == fields[0].first ? "" : ", ", name, spread_of(r, field).median);
    std::printf("}");
}

// One line for each speed; what belongs to the model is repeated, so that a line can be read alone.
void print_json(const SpeedReport& r, const std::string& path) {
    for (const Speed& s : r.speeds) {
        const Spread speed = spread(s.speeds);
        std::printf(
            "{\"version\": \"%s\", \"path\": %s, \"name\": %s, \"device\": \"%s\", \"threads\": %d, "
            "\"parameters\": %lld, \"weight_bytes\": %lld, \"token_bytes\": %lld, \"position_bytes\": %lld, "
            "\"load_seconds\": %.6f, \"load_peak_bytes\": %.0f, \"peak_bytes\": %.0f, ",
            alia_version(), json_string(path).c_str(), json_string(r.name).c_str(), r.device.c_str(), r.threads,
            (long long)r.parameters, (long long)r.weight_bytes, (long long)r.token_bytes, (long long)r.position_bytes,
            r.load_seconds, r.load_peak, r.peak);
        print_roofs_json(r);
        std::printf(
            ", \"measure\": \"%s\", \"tokens\": %lld, \"context\": %lld, \"streams\": %d, \"tokens_per_second\": %s, "
            "\"median\": %.6g, \"low\": %.6g, \"high\": %.6g, \"roof\": \"%s\", \"work\": %.8g, \"share\": %.6g}\n",
            label(s).c_str(), (long long)s.tokens, (long long)s.context, s.streams, list(s.speeds).c_str(),
            speed.median, speed.low, speed.high, s.roof, s.work, spread(s.shares).median);
    }
}

void print_table(const SpeedReport& r) {
    auto median = [&](double Roofs::*roof) { return spread_of(r, roof).median; };
    const double copy = median(&Roofs::copy), upload = median(&Roofs::upload), e4m3 = median(&Roofs::e4m3);
    std::printf("%s on %s, %s; %.2f billion parameters, %s\n", r.name.empty() ? "the model" : r.name.c_str(),
                r.device.c_str(), r.threads ? (std::to_string(r.threads) + " threads").c_str() : "all threads",
                double(r.parameters) / 1e9, human_bytes(double(r.weight_bytes)).c_str());
    std::printf("load      %.2f s, %.1f GB/s, %.2f of %s; peak memory %s, with the caches %s\n", r.load_seconds,
                double(r.weight_bytes) / r.load_seconds / 1e9,
                double(r.weight_bytes) / r.load_seconds / (upload > 0 ? upload : copy),
                upload > 0 ? "copies from pinned memory" : "copying", human_bytes(r.load_peak).c_str(),
                human_bytes(r.peak).c_str());
    std::printf("roofs     read %.1f GB/s, copy %.1f GB/s", median(&Roofs::read) / 1e9, copy / 1e9);
    if (upload > 0) std::printf(", upload %.1f GB/s", upload / 1e9);
    std::printf("; multiply-adds/s: f32 %.0f G, int8 %.0f G, bf16 %.0f G", median(&Roofs::f32) / 1e9,
                median(&Roofs::int8) / 1e9, median(&Roofs::bf16) / 1e9);
    std::printf(e4m3 > 0 ? ", e4m3 %.0f G\n" : "\n", e4m3 / 1e9);
    std::printf("%-32s%10s   %-21s %s\n", "", "tokens/s", "lowest .. highest", "of the roof");
    for (const Speed& s : r.speeds) {
        const Spread speed = spread(s.speeds);
        std::printf("%-32s%10.2f   %8.2f .. %-9.2f %.2f of %s\n", label(s).c_str(), speed.median, speed.low, speed.high,
                    spread(s.shares).median, s.roof);
    }
}

// The model's path, or the library's name for a shape with random weights.
std::string path_of(const Options& o) {
    if (o.shape.empty()) return o.path;
    return "synthetic:" + o.shape + ":" + o.type + (o.layers ? ":" + std::to_string(o.layers) : "");
}

int bench(const Options& o) {
    watch_interrupt();
    const std::string path = path_of(o);
    bool first = true;
    for (const std::string& device : o.devices) {
        for (int threads : o.threads) {
            const SpeedReport report = measure_speed({path, device, threads}, o.plan);
            if (o.json) {
                print_json(report, path);
            } else {
                if (!first) std::printf("\n");
                print_table(report);
            }
            std::fflush(stdout);
            first = false;
        }
    }
    return 0;
}

}  // namespace

void add_bench(CLI::App& app, Run& chosen) {
    auto o = std::make_shared<Options>();
    CLI::App* command = app.add_subcommand("bench", "Measure how fast a model is, beside the machine's limits");
    auto* model = command->add_option("MODEL", o->path, "a GGUF file, a model directory, or a .safetensors file");
    auto* synthetic = command
                          ->add_option("--synthetic", o->shape,
                                       "instead of MODEL: a shape with random weights, made on the device (alia-40b, "
                                       "salamandra-7b, salamandra-2b, tiny)")
                          ->excludes(model);
    command
        ->add_option("--type", o->type, "with --synthetic: the format of every matrix, such as bf16, fp8, q8_0, q4_0")
        ->capture_default_str()
        ->needs(synthetic);
    command->add_option("--layers", o->layers, "with --synthetic: fewer layers")
        ->needs(synthetic)
        ->check(CLI::PositiveNumber);
    auto list = [&](const char* name, auto& values, const char* text) {
        return command->add_option(name, values, text)->delimiter(',')->allow_extra_args(false)->capture_default_str();
    };
    constexpr int most = 1 << 24;
    list("--prompt", o->plan.prompts, "lengths of prompts")->check(CLI::Range(1, most));
    command->add_option("--generate", o->plan.generate, "tokens to generate (0: none)")
        ->capture_default_str()
        ->check(CLI::Range(0, most));
    list("--context", o->plan.contexts, "tokens in the cache before those that are generated")
        ->check(CLI::Range(0, most));
    list("--streams", o->plan.streams, "sequences that generate at once")->check(CLI::Range(1, 256));
    command->add_option("--repeat", o->plan.repeat, "repetitions that count")
        ->capture_default_str()
        ->check(CLI::Range(1, most));
    list("--threads", o->threads, "threads of CPU devices (0: what the machine allows)")->check(CLI::NonNegativeNumber);
    list("--device", o->devices, "devices, as `alia run` takes them");
    command->add_option("--chunk", o->plan.chunk, "prompt tokens in one step at most")->capture_default_str();
    add_cache_option(*command, o->plan.cache);
    command->add_flag("--json", o->json, "JSON Lines on standard output, one for each speed, instead of the table");
    command->footer(
        "Speeds are medians over the repetitions. Generation is compared with how fast the weights (without the\n"
        "embedding table) and the cache can be read, which is measured in turn with a few tokens at a time, a prompt\n"
        "with how fast the best instruction for its weights multiplies. Tokens are arbitrary; choosing one is\n"
        "included. Of several streams the speed is that of all together.\n"
        "Examples:\n"
        "  alia bench model.gguf\n"
        "  alia bench model.gguf --prompt 512 --generate 64 --context 0,4000 --threads 1,2 --json\n"
        "  alia bench --synthetic salamandra-2b --type q8_0 --layers 4");
    command->callback([o, &chosen] {
        if (o->path.empty() && o->shape.empty()) throw CLI::RequiredError("MODEL");
        chosen = [o] { return bench(*o); };
    });
}

}  // namespace cli
