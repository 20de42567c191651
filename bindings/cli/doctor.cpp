// alia doctor: what the machine has, and where a model would run and why.
#include <algorithm>

#include "bindings/cli/commands.h"
#include "bindings/cli/json.h"
#include "bindings/cli/language.h"
#include "bindings/cli/machine.h"
#include "bindings/cli/terminal.h"

namespace cli {
namespace {

struct Options {
    std::string model;
    int64_t context = 4096;
    int32_t cache = ALIA_CACHE_AUTO;
    bool json = false;
};

// A model on one device.
struct Place {
    std::string device, plan, error;  // the library's JSON, or why there is none
    bool fits = false;
};

// What a command without --device would use, and what the user should know of it.
struct Verdict {
    std::string device, error, other;  // why it cannot, and a device that has the room which this one lacks; or empty
    bool asked = false, fits = true;   // asked: by the environment
};

std::vector<Place> places(const std::vector<Device>& devices, const Options& o) {
    std::vector<Place> found;
    for (const Device& device : devices) {
        if (!device.usable) continue;
        ModelChoice choice{.path = o.model, .device = device.name};
        const alia_model_options model = options_of(choice, ALIA_LOAD_ALL);
        alia_engine_options engine = ALIA_ENGINE_OPTIONS_INIT;
        engine.context = o.context;
        engine.cache = o.cache;
        Place place{.device = device.name, .plan = {}, .error = {}};
        try {
            place.plan = text_from([&](char** text, uint64_t* length) {
                return alia_plan(o.model.data(), o.model.size(), &model, &engine, text, length);
            });
            place.fits = bool_at(place.plan, "/fits");
        } catch (const Failure& e) {
            place.error = e.what();
        }
        found.push_back(std::move(place));
    }
    return found;
}

Verdict verdict(const std::vector<Place>& found, const std::string& automatic, const char* forced) {
    Verdict v{.device = automatic, .error = {}, .other = {}};
    if (forced && *forced) v = {.device = forced, .error = {}, .other = {}, .asked = true};
    const Place *chosen = nullptr, *other = nullptr;
    for (const Place& place : found) {
        if (place.device == v.device || (v.device == "cpu" && !chosen && place.device.starts_with("cpu:")))
            chosen = &place;
        if (place.fits && !other) other = &place;
    }
    if (!chosen) return v;
    v.error = chosen->error;
    v.fits = chosen->fits || !v.error.empty();
    if (!v.fits && other) v.other = other->device;
    return v;
}

// In the user's language, or as it stands for programs.
std::string reason(const Verdict& v, const char* (*say)(const char*)) {
    std::string text = say(v.asked ? "the environment's ALIA_DEVICE asks for it" : "the best device here");
    if (!v.error.empty()) text += say("; it cannot: ") + v.error;
    if (!v.fits) text += say("; the model does not fit in its memory");
    if (!v.other.empty()) text += say(", and fits on ") + v.other + say(": use --device ") + v.other;
    return text;
}

// The text after a column of names.
void row(const char* english, const std::string& value) {
    if (value.empty()) return;
    const std::string name = tr(english);
    const auto width = std::count_if(name.begin(), name.end(), [](char c) { return (c & 0xC0) != 0x80; });
    std::printf("%s%*s %s\n", name.c_str(), int(18 - width), "", value.c_str());
}

std::string threads_text(const std::string& devices) {
    const double threads = number_at(devices, "/threads"), online = number_at(devices, "/processors/online"),
                 affinity = number_at(devices, "/processors/affinity"), quota = number_at(devices, "/processors/quota");
    char text[160], allowed[64] = "", time[64] = "";
    if (affinity > 0 && affinity < online)
        std::snprintf(allowed, sizeof allowed, tr("; the affinity mask allows %.0f"), affinity);
    if (quota > 0) std::snprintf(time, sizeof time, tr("; the control group allows the time of %.2f"), quota);
    std::snprintf(text, sizeof text, tr("%.0f of %.0f processors%s%s"), threads, online, allowed, time);
    return text;
}

std::string memory_text(const Machine& m) {
    std::string text = human_bytes(double(m.memory)) + ", " + human_bytes(double(m.available)) + tr(" available");
    if (m.group_memory > 0)
        text += tr("; the control group allows ") + human_bytes(double(m.group_memory)) + tr(" and uses ") +
                human_bytes(double(m.group_used));
    return text;
}

std::string huge_pages_text(const std::string& mode) {
    if (mode == "never") return tr("never; weights and caches would be read faster with madvise");
    return mode.empty() ? tr("the system has none") : mode + tr(", so that weights and caches have them");
}

std::string cuda_text(const std::string& devices) {
    const std::string reason = tr(optional_string_at(devices, "/cuda/reason").c_str());
    if (!bool_at(devices, "/cuda/built")) return reason;
    const std::string driver = optional_string_at(devices, "/cuda/driver");
    std::string text = tr("built with CUDA ") + optional_string_at(devices, "/cuda/runtime");
    text += driver.empty() ? "" : tr("; the driver has ") + driver;
    return reason.empty() ? text : text + "; " + reason;
}

std::string device_text(const Device& d, const std::string& automatic) {
    std::string text = d.name + tr(d.name == automatic ? ": yes, the one that auto takes"
                                   : d.usable          ? ": yes"
                                                       : ": no");
    if (!d.reason.empty()) text += ", " + d.reason;
    if (!d.title.empty()) text += " (" + visible(d.title) + ", " + human_bytes(d.memory) + ")";
    return text;
}

std::string place_text(const Place& p) {
    if (!p.error.empty()) return p.device + ": " + visible(p.error);
    std::string text = p.device + ": " + human_bytes(number_at(p.plan, "/total"));
    if (const double available = number_at(p.plan, "/available"); available > 0)
        text += tr(" of ") + human_bytes(available);
    return text + tr(p.fits ? ", fits" : ", does not fit");
}

void print_table(const Machine& m, const std::string& devices, const std::vector<Device>& list,
                 const std::vector<Place>& found, const Verdict& v, const Options& o) {
    const std::string automatic = string_at(devices, "/auto");
    row("libalia", alia_version());
    row("processor", visible(m.processor));
    row("instructions", m.instructions);
    row("threads", threads_text(devices));
    row("memory", memory_text(m));
    row("huge pages", huge_pages_text(m.huge_pages));
    row("cuda", cuda_text(devices));
    const char* name = "devices";
    for (const Device& device : list) row(std::exchange(name, ""), device_text(device, automatic));
    name = "model";
    for (const Place& place : found) row(std::exchange(name, ""), place_text(place));
    row(o.model.empty() ? "models run on" : "it runs on", v.device + ": " + visible(reason(v, tr)));
}

void print_json(const Machine& m, const std::string& devices, const std::vector<Place>& found, const Verdict& v) {
    std::string plans;
    for (const Place& p : found)
        plans += (plans.empty() ? "" : ", ") + ("{\"device\": " + json_string(p.device)) +
                 (p.error.empty() ? ", \"plan\": " + p.plan : ", \"error\": " + json_string(p.error)) + "}";
    std::printf(
        "{\"version\": %s, \"processor\": {\"model\": %s, \"instructions\": %s}, "
        "\"memory\": {\"total\": %lld, \"available\": %lld, \"group_limit\": %lld, \"group_used\": "
        "%lld, \"huge_pages\": %s}, \"library\": %s, \"plans\": [%s], \"runs_on\": {\"device\": %s, \"reason\": %s}}\n",
        json_string(alia_version()).c_str(), json_string(m.processor).c_str(), json_string(m.instructions).c_str(),
        (long long)m.memory, (long long)m.available, (long long)m.group_memory, (long long)m.group_used,
        json_string(m.huge_pages).c_str(), devices.c_str(), plans.c_str(), json_string(v.device).c_str(),
        json_string(reason(v, [](const char* english) { return english; })).c_str());
}

int doctor(const Options& o) {
    const Machine machine = read_machine();
    const std::string devices = text_from(alia_devices);
    const std::vector<Device> list = devices_at(devices);
    const std::vector<Place> found = o.model.empty() ? std::vector<Place>() : places(list, o);
    const Verdict v = verdict(found, string_at(devices, "/auto"), std::getenv("ALIA_DEVICE"));
    if (o.json)
        print_json(machine, devices, found, v);
    else
        print_table(machine, devices, list, found, v, o);
    return 0;
}

}  // namespace

void add_doctor(CLI::App& app, Run& chosen) {
    auto o = std::make_shared<Options>();
    CLI::App* command = app.add_subcommand("doctor", "Say what this machine has, and where a model would run and why");
    command->add_option("MODEL", o->model, "a model, to say what it takes on each device");
    command->add_option("--ctx", o->context, "positions of the KV cache")->capture_default_str();
    add_cache_option(*command, o->cache);
    command->add_flag("--json", o->json, "one JSON object on standard output");
    command->footer("Examples:\n  alia doctor\n  alia doctor model.gguf --ctx 32768\n  alia doctor --json");
    command->callback([o, &chosen] { chosen = [o] { return doctor(*o); }; });
}

}  // namespace cli
