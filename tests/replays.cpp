// A device that repeats passes of one key without a call, as CUDA graphs do: the same answers, from few recorded sizes.
#include <functional>
#include <map>
#include <set>

#include "kernels/cpu/isa.h"
#include "tests/support.h"

using namespace alia;

namespace {

const Kernels& sound = cpu_base;

// What the passes of each key queued the first time.
struct Recorder {
    using Pass = std::vector<std::function<void()>>;
    static inline std::map<uint64_t, Pass> passes;
    static inline Pass* recording = nullptr;
    static inline int replayed = 0;

    template <auto member>
    struct Wrap;
    template <class... Arguments, void (*Kernels::*member)(Stream*, Arguments...)>
    struct Wrap<member> {
        static void function(Stream* s, Arguments... arguments) {
            (sound.*member)(s, arguments...);
            if (recording) recording->push_back([=] { (sound.*member)(s, arguments...); });
        }
    };
    static void run(Stream*, uint64_t key, void (*pass)(void*), void* context) {
        const auto known = passes.find(key);
        if (key != 0 && known != passes.end()) {
            ++replayed;
            for (const auto& operation : known->second) operation();
            return;
        }
        recording = key ? &passes[key] : nullptr;
        pass(context);
        recording = nullptr;
    }
    static const Kernels& table() {
        static const Kernels k = [] {
            Kernels k = sound;
            k.replays = true;
            k.run = run;
            k.embed = Wrap<&Kernels::embed>::function;
            k.norm = Wrap<&Kernels::norm>::function;
            k.add_norm = Wrap<&Kernels::add_norm>::function;
            k.linear = Wrap<&Kernels::linear>::function;
            k.linear_glu = Wrap<&Kernels::linear_glu>::function;
            k.glu = Wrap<&Kernels::glu>::function;
            k.angles = Wrap<&Kernels::angles>::function;
            k.rotate_store = Wrap<&Kernels::rotate_store>::function;
            k.attend = Wrap<&Kernels::attend>::function;
            k.rows = Wrap<&Kernels::rows>::function;
            k.columns = Wrap<&Kernels::columns>::function;
            return k;
        }();
        return k;
    }
};

std::map<uint64_t, std::vector<int32_t>> answers(Engine& engine) {
    std::map<uint64_t, std::vector<int32_t>> tokens;
    for (int i = 0; i < 11; ++i)
        engine.submit({.prompt = std::vector<int32_t>(size_t(1 + 9 * i), i),
                       .sampling = {.temperature = 1, .seed = uint64_t(i)},
                       .max_tokens = 4 + 7 * i,
                       .ignore_eos = true});
    while (!engine.idle())
        for (const Event& e : engine.step())
            if (e.kind == Event::Kind::token) tokens[e.request].push_back(e.token);
    return tokens;
}

}  // namespace

TEST_CASE("passes that are replayed give the same answers") {
    const EngineOptions options{.context = 192, .positions = 1500, .sequences = 11, .chunk = 40};
    const std::string path = TEST_DATA "/models/alia";
    const auto model = load_model(path, {.device = "cpu:base", .threads = 1});
    Engine plain(model, options);
    const auto right = answers(plain);

    std::unique_ptr<Device> device;  // that the weights belong to: it outlives the model
    const auto replaying = std::const_pointer_cast<Model>(load_model(path, {.device = "cpu:base", .threads = 1}));
    device = std::exchange(replaying->device, std::make_unique<Device>(Recorder::table(), DeviceOptions{.threads = 1}));
    Engine engine(replaying, options);
    CHECK(answers(engine) == right);
    CHECK(Recorder::replayed > 30);
    std::set<uint64_t> sizes;
    for (const auto& [key, pass] : Recorder::passes) sizes.insert(key);
    CHECK(sizes == std::set<uint64_t>{1, 2, 4, 8, 11});
}
