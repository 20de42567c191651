// Failures: of every allocation and of every device call. What fails says so, nothing is lost, and what was not ended
// gets its right answer afterwards.
#include <atomic>
#include <chrono>
#include <functional>
#include <map>
#include <thread>

#include "engine/attempt.h"
#include "kernels/cpu/isa.h"
#include "tests/support.h"

namespace {

std::atomic<int64_t> news{0}, live{0}, fail_at{0};  // calls; blocks; the call that fails, 0: none
std::atomic<int64_t> meet_at{0};                    // the call during which `other` does `meeting`, 0: none
std::function<void()> meeting;
std::thread other;

// Does not wait for long, since it may be for what the caller holds.
void meet() {
    static std::atomic<bool> done;
    done = false;
    other = std::thread([] { meeting(), done = true; });
    for (int i = 0; i < 20 && !done; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(1));
}

void* take(size_t size) noexcept {
    if (meet_at > 0 && --meet_at == 0) meet();
    if (fail_at > 0 && --fail_at == 0) return nullptr;
    void* p = std::malloc(size ? size : 1);
    if (p) ++news, ++live;
    return p;
}
void* take_or_throw(size_t size) {
    if (void* p = take(size)) return p;
    throw std::bad_alloc();
}
void give(void* p) noexcept {
    if (!p) return;
    --live;
    std::free(p);
}

}  // namespace

void* operator new(size_t size) { return take_or_throw(size); }
void* operator new[](size_t size) { return take_or_throw(size); }
void* operator new(size_t size, const std::nothrow_t&) noexcept { return take(size); }
void* operator new[](size_t size, const std::nothrow_t&) noexcept { return take(size); }
void operator delete(void* p) noexcept { give(p); }
void operator delete[](void* p) noexcept { give(p); }
void operator delete(void* p, size_t) noexcept { give(p); }
void operator delete[](void* p, size_t) noexcept { give(p); }

using namespace alia;

namespace {

const std::string path = TEST_DATA "/models/alia";

std::shared_ptr<Model> load(const char* device = "cpu:base") {
    auto m = std::const_pointer_cast<Model>(load_model(path, {.device = device, .threads = 1}));
    m->tokenizer = open_tokenizer(TEST_DATA "/tokenizer/gpt2.json");
    return m;
}

struct Answer {
    std::vector<int32_t> tokens;
    std::string text;
    Finish finish = Finish::none;
    Status status = Status::ok;
    int finished = 0;
    bool operator==(const Answer&) const = default;
};

std::vector<Request> requests() {
    std::vector<int32_t> ids;
    for (int i = 0; i < 150; ++i) ids.push_back(i * 7 % 90);
    const Sampling warm{.temperature = 1, .repetition = 1.2, .seed = 3};
    return {
        {.prompt = ids, .sampling = warm, .max_tokens = 8, .stop_texts = {"zzz"}, .top_tokens = 3},
        {.prompt = {1, 2, 3}, .max_tokens = 6, .ignore_eos = true, .prompt_logits = true, .prompt_scores = true},
        {.prompt = ids, .max_tokens = 4, .ignore_eos = true, .completions = 2, .pooling = Pooling::mean},
        {.prompt = {5}, .max_tokens = 20, .ignore_eos = true, .context = {2, 3}},
    };
}

// Submits what is not submitted yet and steps to the end, calling again whatever throws. Failures are counted.
struct Script {
    explicit Script(Engine& engine) : engine(engine) {}

    template <class F>
    bool attempt(F&& f, int64_t arm) {
        fail_at = arm;
        try {
            f();
        } catch (const Error& e) {
            failed = e.status;
        } catch (const std::bad_alloc&) {
            failed = Status::out_of_memory;
        }
        const bool done = arm == 0 || fail_at > 0;
        left = fail_at;
        fail_at = 0;
        return done;
    }

    // The `arm`-th allocation fails. False where there were fewer.
    bool run(int64_t arm) {
        left = arm;
        for (const Request& r : requests()) {
            uint64_t id = 0;
            for (Request copy = r; id == 0; copy = r) attempt([&] { id = engine.submit(std::move(copy)); }, left);
            for (int i = 0; i < r.completions; ++i) answers[{id, i}];
        }
        uint64_t a = 0, b = 0;
        while (a == 0) attempt([&] { a = engine.make_sequence(); }, left);
        std::vector<std::byte> state;
        while (state.empty()) attempt([&] { state = engine.save(a); }, left);
        while (b == 0) attempt([&] { b = engine.restore(state); }, left);
        uint64_t talk = 0;
        while (talk == 0) {
            Request r{.prompt = {4, 5, 6}, .max_tokens = 3, .ignore_eos = true, .sequence = b};
            attempt([&] { talk = engine.submit(std::move(r)); }, left);
        }
        answers[{talk, 0}];
        for (int guard = 0; !engine.idle(); ++guard) {
            REQUIRE(guard < 1000);
            std::span<const Event> events;
            attempt([&] { events = engine.step(); }, left);
            for (const Event& e : events) {
                Answer& answer = answers.at({e.request, e.completion});
                if (e.kind == Event::Kind::token) answer.tokens.push_back(e.token);
                answer.text += e.text;
                if (e.kind != Event::Kind::finished) continue;
                answer.finish = e.finish;
                answer.status = e.status;
                ++answer.finished;
            }
        }
        return left == 0;
    }

    Engine& engine;
    std::map<std::pair<uint64_t, int>, Answer> answers;
    Status failed = Status::ok;
    int64_t left = 0;
};

const EngineOptions options{.context = 192, .positions = 384, .sequences = 4, .chunk = 64, .logit_rows = 8};

// By order, as the numbers differ from engine to engine.
std::vector<Answer> answers_of(const Script& s) {
    std::vector<Answer> all;
    for (const auto& [id, answer] : s.answers) all.push_back(answer);
    return all;
}

// Each is right, or ended by the failure.
void check_answers(const std::vector<Answer>& found, const std::vector<Answer>& right, Status failure, bool once) {
    REQUIRE(found.size() == right.size());
    int failed = 0;
    for (size_t i = 0; i < found.size(); ++i) {
        REQUIRE(found[i].finished == 1);
        if (found[i].finish == Finish::error) {
            CHECK(found[i].status == failure);
            ++failed;
        } else {
            CHECK(found[i] == right[i]);
        }
    }
    if (once) CHECK(failed <= 1);
}

}  // namespace

TEST_CASE("whichever allocation fails, one request fails at most and the engine goes on") {
    const auto model = load();
    std::vector<Answer> right;
    {
        Engine engine(model, options);
        Script script(engine);
        script.run(0);
        right = answers_of(script);
    }
    // Steps grow by 1 for so many allocations; 0 fails each one in turn.
    const long growth = from_environment("ALIA_FAULT_STEP", 12);
    int64_t n = 1;
    for (bool reached = true; reached; n += growth ? 1 + n / growth : 1) {
        const int64_t before = live;
        {
            std::unique_ptr<Engine> engine;
            fail_at = n;
            try {
                engine = std::make_unique<Engine>(model, options);
            } catch (const std::bad_alloc&) {
            } catch (const Error& e) {
                CHECK(std::string_view(e.message).find("threads") != std::string_view::npos);
            }
            const int64_t left = fail_at.exchange(0);
            if (engine) {
                Script script(*engine);
                reached = script.run(left);
                check_answers(answers_of(script), right, Status::out_of_memory, true);
                Script again(*engine);
                again.run(0);
                CHECK(answers_of(again) == right);
            } else {
                CHECK(left == 0);
            }
        }
        CHECK(live == before);
    }
    CHECK(n > 100);
}

TEST_CASE("steps that only generate allocate nothing") {
    const auto model = load();
    Engine engine(model, {.context = 512, .positions = 8192, .sequences = 16});
    for (int i = 0; i < 16; ++i)
        engine.submit({.prompt = {i, 1, 2},
                       .sampling = {.temperature = 1, .repetition = i % 2 ? 1.1 : 1, .seed = uint64_t(i)},
                       .min_tokens = i % 3 ? 0 : 50,
                       .ignore_eos = true,
                       .stop_texts = {"never", "this"},
                       .top_tokens = 5});
    for (int i = 0; i < 20; ++i) engine.step();
    const int64_t before = news;
    int64_t tokens = 0;
    for (int i = 0; i < 150; ++i) tokens += int64_t(engine.step().size());
    const int64_t after = news;
    CHECK(tokens == 150 * 16);
    CHECK(after == before);
}

namespace {

// The base table, of which a call fails now and then.
struct Faults {
    static inline const Kernels& sound = cpu_base;
    static inline int64_t countdown = 0;
    static inline bool sticky = false;
    static inline Status status = Status::internal;

    static void call() {
        if (countdown == 0) return;
        if (countdown > 1 && --countdown > 1) return;
        if (!sticky) countdown = 0;
        fail(status, "the device failed, as it was told to");
    }
    template <auto member>
    struct Wrap;
    template <class... Arguments, void (*Kernels::*member)(Arguments...)>
    struct Wrap<member> {
        static void function(Arguments... arguments) {
            call();
            (sound.*member)(arguments...);
        }
    };
    static const Kernels& table() {
        static const Kernels k = [] {
            Kernels k = sound;
            k.write = Wrap<&Kernels::write>::function;
            k.read = Wrap<&Kernels::read>::function;
            k.embed = Wrap<&Kernels::embed>::function;
            k.linear = Wrap<&Kernels::linear>::function;
            k.attend = Wrap<&Kernels::attend>::function;
            k.rotate_store = Wrap<&Kernels::rotate_store>::function;
            k.sample = Wrap<&Kernels::sample>::function;
            return k;
        }();
        return k;
    }
};

struct FaultyModel {
    FaultyModel() : model(load()) {
        device = std::exchange(model->device, std::make_unique<Device>(Faults::table(), DeviceOptions{.threads = 1}));
    }
    std::unique_ptr<Device> device;  // that the weights belong to
    std::shared_ptr<Model> model;
};

}  // namespace

TEST_CASE("whichever device call fails, the step can be repeated with the same bits") {
    FaultyModel faulty;
    std::vector<Answer> right;
    {
        Engine engine(faulty.model, options);
        Script script(engine);
        script.run(0);
        right = answers_of(script);
    }
    int64_t n = 2;
    for (bool reached = true; reached; n += 1 + n / 30) {
        Engine engine(faulty.model, options);
        Faults::countdown = n;
        Faults::status = Status::internal;
        Script script(engine);
        script.run(0);
        reached = Faults::countdown == 0;
        Faults::countdown = 0;
        check_answers(answers_of(script), right, Status::internal, true);
    }
    CHECK(n > 100);
}

TEST_CASE("a device that is lost is lost for good") {
    FaultyModel faulty;
    for (int64_t n : {2, 40, 300}) {
        auto engine = std::make_unique<Engine>(faulty.model, options);
        for (const Request& r : requests()) engine->submit(r);
        Faults::countdown = n;
        Faults::sticky = true;
        Faults::status = Status::device_lost;
        auto status = [&](auto f) {
            try {
                f();
            } catch (const Error& e) {
                return e.status;
            }
            return Status::ok;
        };
        Status s = Status::ok;
        for (int i = 0; i < 200 && s == Status::ok; ++i) s = status([&] { engine->step(); });
        Faults::countdown = 0;
        Faults::sticky = false;
        CHECK(s == Status::device_lost);
        CHECK(status([&] { engine->step(); }) == Status::device_lost);
        CHECK(status([&] { engine->submit({.prompt = {1}}); }) == Status::device_lost);
        CHECK(status([&] { engine->make_sequence(); }) == Status::device_lost);
        CHECK(!engine->idle());
        engine.reset();
    }
}

TEST_CASE("a sequence that is emptied while a request without a prompt comes in for it") {
    const auto m = load();
    for (int64_t call = 1, met = 1; met; ++call) {
        Engine engine(m, {.context = 64});
        const uint64_t a = engine.make_sequence();
        engine.submit({.prompt = {1, 2, 3}, .max_tokens = 2, .ignore_eos = true, .sequence = a});
        while (!engine.idle()) engine.step();

        Status emptied = Status::internal, submitted = Status::ok;
        meeting = [&] {
            const auto error = attempt([&] { engine.truncate(a, 0); });
            emptied = error ? error->status : Status::ok;
        };
        Request r{.prompt = {}, .max_tokens = 2, .ignore_eos = true, .sequence = a};
        meet_at = call;
        const auto error = attempt([&] { engine.submit(std::move(r)); });
        met = meet_at == 0;
        meet_at = 0;
        if (error) submitted = error->status;
        if (!met) break;
        other.join();
        while (!engine.idle()) engine.step();
        CHECK(submitted == (emptied == Status::ok ? Status::invalid_argument : Status::ok));
        CHECK(engine.tokens(a).size() == size_t(emptied == Status::ok ? 0 : 7));
    }
}
