// Many requests at once: whatever runs beside a request, however its pages come and go, it gets the bits that it gets
// alone; none is lost, none is answered twice.
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <map>
#include <mutex>
#include <random>
#include <thread>
#include <utility>

#include "engine/state.h"
#include "kernels/cpu/isa.h"
#include "tests/support.h"

using namespace alia;

namespace {

const std::string models = std::string(TEST_DATA) + "/models/";
constexpr auto tiny = "sharded";  // the smallest of two layers
constexpr long group_size = 32;   // schedules that draw from the same requests
constexpr int64_t context = 192, longest_prompt = 150;

// What a request is told, with the bits of every number.
struct Answer {
    std::vector<int32_t> tokens;
    std::vector<uint32_t> numbers;  // log-probabilities, scores, embeddings, in order
    std::string text;
    Finish finish = Finish::none;
    int64_t length = 0;
    int finished = 0;

    void add(const Event& e) {
        auto number = [&](float x) { numbers.push_back(std::bit_cast<uint32_t>(x)); };
        if (e.kind == Event::Kind::token) {
            tokens.push_back(e.token);
            number(e.logprob);
            for (const TopToken& t : e.top) numbers.push_back(uint32_t(t.token)), number(t.logprob);
        }
        if (e.kind == Event::Kind::scores || e.kind == Event::Kind::embedding || e.kind == Event::Kind::logits)
            for (float x : e.values) number(x);
        text += e.text;
        if (e.kind != Event::Kind::finished) return;
        finish = e.finish;
        length = e.position;
        ++finished;
    }
    // Of a request that was cancelled or came too late, what it was told before.
    bool begins(const Answer& whole) const {
        return tokens.size() <= whole.tokens.size() && std::equal(tokens.begin(), tokens.end(), whole.tokens.begin()) &&
               numbers.size() <= whole.numbers.size() &&
               std::equal(numbers.begin(), numbers.end(), whole.numbers.begin());
    }
    bool operator==(const Answer&) const = default;
};

using Rng = std::mt19937;

// Prompts that often begin alike, as those of chats do.
std::vector<int32_t> random_tokens(Rng& rng, int64_t vocabulary, size_t most) {
    std::vector<int32_t> ids(1 + rng() % most);
    Rng fixed(rng() % 3);
    const size_t common = rng() % 2 ? ids.size() : rng() % (ids.size() + 1);
    for (size_t i = 0; i < ids.size(); ++i) ids[i] = int32_t((i < common ? fixed() : rng()) % uint64_t(vocabulary));
    return ids;
}

Request random_request(Rng& rng, const Model& m) {
    Request r;
    r.prompt = random_tokens(rng, m.config.vocabulary, rng() % 4 ? longest_prompt : 20);
    r.max_tokens = int64_t(rng() % 40);
    r.ignore_eos = rng() % 2;
    r.sampling.seed = rng();
    if (rng() % 2) r.sampling.temperature = 0.5 + double(rng() % 10) / 5;
    if (rng() % 4 == 0) r.sampling.top_p = 0.9;
    if (rng() % 4 == 0) r.sampling.repetition = 1.3, r.sampling.frequency = 0.2;
    if (rng() % 4 == 0) r.top_tokens = int(rng() % 5);
    if (rng() % 6 == 0) r.prompt_scores = true;
    if (rng() % 6 == 0) r.pooling = Pooling(1 + rng() % 2), r.normalise = rng() % 2;
    if (rng() % 8 == 0) r.min_tokens = int64_t(rng() % 10);
    if (rng() % 8 == 0) r.max_tokens = -1, r.deadline = Clock::time_point::max();
    if (rng() % 4 == 0) r.context = {int64_t(rng() % 20), 1 + int64_t(rng() % 100)};
    if (r.max_tokens < 0 && r.context.slides()) r.max_tokens = 250;
    if (rng() % 6 == 0) r.share = false;
    if (rng() % 6 == 0) r.salt = "b";
    if (rng() % 4 == 0) r.priority = int32_t(rng() % 3);
    return r;
}

EngineOptions alone_options(Format cache) {
    return {.context = context, .sequences = 1, .chunk = 1000, .logit_rows = 400, .cache = cache, .threads = 1};
}

// The answers of each completion, one after the other in an engine that shares nothing.
std::vector<Answer> alone(Engine& engine, Request r) {
    std::vector<Answer> answers;
    r.share = false;
    r.priority = 0;
    const int completions = std::exchange(r.completions, 1);
    for (int i = 0; i < completions; ++i, ++r.sampling.seed) {
        engine.submit(r);
        answers.emplace_back();
        while (!engine.idle())
            for (const Event& e : engine.step()) answers.back().add(e);
        r.prompt_scores = false, r.pooling = Pooling::none;  // the first tells them
    }
    return answers;
}

// A request and what it is told alone.
struct Known {
    Request request;
    std::vector<Answer> right;
};

// What schedules draw their requests from, so that one run alone serves many of them. Some begin with an earlier one
// and its answer, as a client's do that sends a conversation again.
std::vector<Known> known_requests(const std::shared_ptr<const Model>& model, Format cache, uint32_t seed) {
    Rng rng(seed);
    Engine solo(model, alone_options(cache));
    std::vector<Known> all;
    while (all.size() < 48) {
        Request r = random_request(rng, *model);
        if (rng() % 6 == 0) r.completions = 2 + int(rng() % 3);
        if (!all.empty() && rng() % 4 == 0) {
            const Known& earlier = all[rng() % all.size()];
            std::vector<int32_t> whole = earlier.request.prompt;
            whole.insert(whole.end(), earlier.right[0].tokens.begin(), earlier.right[0].tokens.end());
            whole.insert(whole.end(), r.prompt.begin(), r.prompt.end());
            whole.resize(std::min<size_t>(whole.size(), longest_prompt));
            r.prompt = std::move(whole);
        }
        std::vector<Answer> right = alone(solo, r);
        all.push_back({std::move(r), std::move(right)});
    }
    return all;
}

// What really happened, over all schedules.
struct Seen {
    int64_t requests = 0, turns = 0, completions = 0, cancellations = 0, forks = 0, truncations = 0, saves = 0;
    int64_t cached_answers = 0;  // turns that found pages of answers in the cache
    int64_t most_running = 0, preemptions = 0, evictions = 0, cached_tokens = 0;

    void add(const Counters& c) {
        preemptions += c.preemptions, evictions += c.evictions, cached_tokens += c.cached_tokens;
    }
    bool everything() const {
        return turns && completions && cancellations && forks && truncations && saves && cached_answers &&
               most_running == 64 && preemptions && evictions && cached_tokens;
    }
};

std::ostream& operator<<(std::ostream& out, const Seen& s) {
    return out << s.requests << " requests (" << s.completions << " of several completions, " << s.cancellations
               << " cancelled), " << s.turns << " turns of conversations, " << s.forks << " forks, " << s.truncations
               << " truncations, " << s.saves << " saved and restored; " << s.most_running << " at once at most, "
               << s.preemptions << " preemptions, " << s.evictions << " evictions, " << s.cached_tokens
               << " cached tokens, " << s.cached_answers << " turns with cached answers";
}

// A conversation: each turn's answer must be that of one engine that holds nothing else and lost nothing.
struct Conversation {
    uint64_t number = 0;
    std::shared_ptr<Engine> twin;  // alone
    uint64_t twin_number = 0;
    uint64_t request = 0;  // that runs on it
};

struct Schedule {
    Schedule(std::shared_ptr<const Model> m, Format cache, const std::vector<Known>& known, Rng& rng, Seen& seen)
        : model(std::move(m)), cache(cache), known(known), rng(rng), seen(seen) {}

    // Room for so many sequences at most; often little of it.
    EngineOptions random_options(int most) {
        const int sequences = few(most);
        return {.context = context,
                .positions = context + int64_t(rng() % (rng() % 2 ? 200 : 64 * uint64_t(sequences) + 1)),
                .sequences = sequences,
                .chunk = 1 + int(rng() % (rng() % 2 ? 300 : 20)),
                .logit_rows = 1 + int(rng() % 40),
                .cache = cache,
                .threads = 1};
    }
    void open(const EngineOptions& o, std::shared_ptr<const Model> under_test = {}) {
        engine = std::make_unique<Engine>(under_test ? under_test : model, o);
    }

    // From 1 to `most`, small numbers more often.
    int few(int most) {
        const int limit = most >> rng() % 7;
        return 1 + int(rng() % uint64_t(std::max(limit, 1)));
    }

    void submit(const Known& k) {
        const uint64_t id = engine->submit(k.request);
        expected[id] = k.right;
        answers[id].resize(k.right.size());
        ++seen.requests;
        seen.completions += k.right.size() > 1;
    }
    void submit() { submit(known[rng() % known.size()]); }

    void converse() {
        if (conversations.size() < 3 && rng() % 2) {
            Conversation c{engine->make_sequence(), std::make_shared<Engine>(model, alone_options(cache))};
            c.twin_number = c.twin->make_sequence();
            conversations.push_back(c);
        }
        if (conversations.empty()) return;
        Conversation& c = conversations[rng() % conversations.size()];
        if (c.request) return;
        const int64_t length = int64_t(engine->tokens(c.number).size());
        REQUIRE(engine->tokens(c.number) == c.twin->tokens(c.twin_number));
        switch (rng() % 6) {
            case 0: {
                const int64_t keep = int64_t(rng() % uint64_t(length + 1));
                engine->truncate(c.number, keep);
                c.twin->truncate(c.twin_number, keep);
                ++seen.truncations;
                return;
            }
            case 1: {  // goes on as a fork of itself
                const uint64_t fork = engine->fork(c.number);
                engine->free_sequence(std::exchange(c.number, fork));
                ++seen.forks;
                return;
            }
            case 2: {
                const auto state = engine->save(c.number);
                engine->free_sequence(c.number);
                c.number = engine->restore(state);
                ++seen.saves;
                return;
            }
        }
        take_turn(c);
    }

    void take_turn(Conversation& c) {
        Request r = random_request(rng, *model);
        r.prompt.resize(std::min<size_t>(r.prompt.size(), 60));
        r.max_tokens = int64_t(rng() % 40);
        r.sequence = c.twin_number;
        try {
            c.twin->submit(r);
        } catch (const Error& e) {
            REQUIRE(e.status == Status::context_full);
            r.sequence = c.number;
            REQUIRE_THROWS_AS(engine->submit(r), Error);
            return;
        }
        Answer right;
        while (!c.twin->idle())
            for (const Event& e : c.twin->step()) right.add(e);
        r.sequence = c.number;
        c.request = engine->submit(r);
        expected[c.request] = {right};
        answers[c.request].resize(1);
        ++seen.turns;
    }

    // Turns with nothing beside them. They take pages from the other conversations; those that a turn finds again in
    // the cache are counted where they hold tokens of an answer.
    void take_last_turns() {
        for (size_t turn = 0; turn < 3 * conversations.size(); ++turn) {
            Conversation& c = conversations[turn % conversations.size()];
            const auto state = engine->save(c.number);
            StateHeader h;
            std::memcpy(&h, state.data(), sizeof h);
            const int64_t before = engine->counters().cached_tokens;
            take_turn(c);
            while (!engine->idle()) take(engine->step());
            const auto roles = state.begin() + int64_t(sizeof h) + (h.tokens * 4 + 7) / 8 * 8 + h.computed;
            const int64_t found = std::min(engine->counters().cached_tokens - before, h.tokens - h.computed);
            seen.cached_answers += std::count(roles, roles + found, std::byte(Role::generated)) > 0;
        }
    }

    void take(std::span<const Event> events) {
        for (const Event& e : events) {
            REQUIRE(answers.contains(e.request));
            Answer& a = answers[e.request].at(size_t(e.completion));
            REQUIRE(a.finished == 0);
            a.add(e);
            if (e.kind == Event::Kind::finished)
                for (Conversation& c : conversations)
                    if (c.request == e.request) c.request = 0;
        }
    }

    // False where an answer differs from the one alone.
    bool run(int requests) {
        for (int step = 0; requests > 0 || !engine->idle(); ++step) {
            REQUIRE(step < 100000);
            for (int burst = rng() % 3 == 0 ? few(64) : 0; burst > 0 && requests > 0; --burst)
                rng() % 3 ? submit() : converse(), --requests;
            if (rng() % 60 == 0 && !answers.empty()) {
                const auto victim = std::next(answers.begin(), int64_t(rng() % answers.size()));
                const bool resident = std::any_of(conversations.begin(), conversations.end(),
                                                  [&](auto& c) { return c.request == victim->first; });
                if (!resident && engine->cancel(victim->first)) cancelled.insert({victim->first, true});
            }
            take(engine->step());
            seen.most_running = std::max(seen.most_running, engine->counters().running);
        }
        take_last_turns();
        seen.cancellations += int64_t(cancelled.size());
        seen.add(engine->counters());
        for (const auto& [id, all] : answers)
            for (size_t i = 0; i < all.size(); ++i) {
                const Answer& right = expected[id][i];
                if (all[i].finished != 1) return false;
                if (all[i].finish == Finish::cancelled ? !cancelled.contains(id) || !all[i].begins(right)
                                                       : !(all[i] == right))
                    return false;
            }
        return answers.size() == expected.size();
    }

    std::shared_ptr<const Model> model;
    Format cache;
    const std::vector<Known>& known;
    Rng& rng;
    Seen& seen;
    std::unique_ptr<Engine> engine;
    std::map<uint64_t, std::vector<Answer>> expected, answers;
    std::map<uint64_t, bool> cancelled;
    std::vector<Conversation> conversations;
};

}  // namespace

TEST_CASE("random schedules of requests give the answers that each gets alone") {
    const long seed = from_environment("ALIA_TEST_SEED", 1);
    const auto end =
        std::chrono::steady_clock::now() + std::chrono::seconds(from_environment("ALIA_SCHEDULE_SECONDS", 5));
    const auto model = load_model(models + tiny, {.device = "cpu", .threads = 1});
    Seen seen;
    std::vector<Known> known;
    Format cache{};
    long schedules = 0, group = -1;
    const long least = from_environment("ALIA_SCHEDULE_COUNT", 100);
    for (; schedules < least || std::chrono::steady_clock::now() < end; ++schedules) {
        if (const long its = (seed + schedules) / group_size; group != its) {
            group = its;
            cache = std::array{Format::F16, Format::F32, Format::BF16}[size_t(group % 3)];
            known = known_requests(model, cache, uint32_t(group));
        }
        const long number = seed + schedules;
        Rng rng(static_cast<uint32_t>(number));
        INFO("seed " << number << " (ALIA_TEST_SEED)");
        Schedule s(model, cache, known, rng, seen);
        EngineOptions o = s.random_options(64);
        int requests = s.few(128), at_once = 0;
        if (number % group_size == 0)  // as many as there may be
            o.sequences = 64, o.positions = 64 * context, o.chunk = std::min(o.chunk, 20), at_once = 100;
        if (number % group_size == 1)  // a pool of threads: slow where other processes run, so for few requests
            o.threads = 2, requests = std::min(requests, 3);
        s.open(o);
        for (int i = 0; i < at_once; ++i) s.submit();
        REQUIRE(s.run(requests));
        const Counters c = s.engine->counters();
        REQUIRE(c.running + c.waiting == 0);
    }
    WARN(schedules << " schedules from seed " << seed << ": " << seen);
    if (schedules >= 100) CHECK(seen.everything());
}

namespace {

// The best table, but one bit of a row shows whether another sequence was in the pass.
const Kernels& seeing_neighbours() {
    static const Kernels& sound = *cpu::tables().front();
    static const Kernels faulty = [] {
        Kernels k = sound;
        k.attend = [](Stream* s, Tensor y, Tensor q, Tensor keys, Tensor values, const Batch& b, int dim,
                      void* scratch) {
            sound.attend(s, y, q, keys, values, b, dim, scratch);
            for (int i = 1; i < b.n; ++i)
                if (b.sequence[i] != b.sequence[0]) y.row(i)[0] = std::nextafter(y.row(i)[0], INFINITY);
        };
        return k;
    }();
    return faulty;
}

}  // namespace

TEST_CASE("the comparison finds a kernel that sees its neighbours") {
    const auto model = load_model(models + tiny, {.device = "cpu", .threads = 1});
    std::unique_ptr<Device> device;  // that the weights belong to: it outlives the model
    const auto faulty = std::const_pointer_cast<Model>(load_model(models + tiny, {.device = "cpu", .threads = 1}));
    device = std::exchange(faulty->device, std::make_unique<Device>(seeing_neighbours(), DeviceOptions{.threads = 1}));
    Engine solo(model, alone_options(Format::F32));
    Seen seen;
    bool same = true;
    for (uint32_t seed = 1; seed < 20 && same; ++seed) {
        Rng rng(seed);
        std::vector<Known> known(24);
        for (Known& k : known) {
            k.request = random_request(rng, *model);
            k.request.prompt_scores = true;
            k.right = alone(solo, k.request);
        }
        Schedule s(model, Format::F32, known, rng, seen);
        s.open(s.random_options(64), faulty);
        for (const Known& k : known) s.submit(k);
        same = s.run(0);
    }
    CHECK(!same);
}

TEST_CASE("requests may be submitted and cancelled by any thread while another one steps") {
    const auto model = load_model(models + tiny, {.device = "cpu", .threads = 1});
    Engine engine(model, {.context = 128, .sequences = 4, .chunk = 16});
    const Request r{.prompt = {1, 2, 3, 4, 5}, .max_tokens = 5, .ignore_eos = true};
    const auto right = generate(engine, r);
    constexpr int threads = 4, each = 12;
    std::atomic<int> left{threads};
    std::vector<std::thread> clients;
    std::mutex mutex;
    std::map<uint64_t, bool> submitted;  // and whether it was cancelled
    for (int t = 0; t < threads; ++t)
        clients.emplace_back([&, t] {
            for (int i = 0; i < each; ++i) {
                const uint64_t id = engine.submit(r);
                const bool cancel = (t + i) % 3 == 0 && engine.cancel(id);
                engine.counters();
                engine.due();
                std::lock_guard lock(mutex);
                submitted[id] = cancel;
            }
            --left;
        });
    std::map<uint64_t, Answer> answers;
    while (left > 0 || !engine.idle())
        for (const Event& e : engine.step()) answers[e.request].add(e);
    for (std::thread& client : clients) client.join();
    CHECK(answers.size() == size_t(threads * each));
    for (const auto& [id, cancelled] : submitted) {
        CHECK(answers[id].finished == 1);
        CHECK((answers[id].tokens == right || (cancelled && answers[id].finish == Finish::cancelled)));
    }
}
