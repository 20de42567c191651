// Sampling on the host.
#include "engine/sampler.h"

#include <algorithm>
#include <cmath>

namespace alia {
namespace {

void in_range(const char* field, double value, double least, double most) {
    if (!(value >= least && value <= most))
        fail(Status::invalid_argument, {.file = {}, .item = field}, "%g is not between %g and %g", value, least, most);
}

// How many of the candidates (from the best down) stay; nothing where that depends on tokens beyond them. `log_sum` is
// over the whole row at this temperature.
std::optional<size_t> keep(std::span<const Candidate> c, bool complete, const Sampling& s, double log_sum) {
    const double t = float(1 / s.temperature);  // as the row's record says it
    size_t n = c.size();
    if (s.top_k > 0) {
        if (s.top_k > int64_t(n) && !complete) return {};
        complete = true;
        n = std::min(n, size_t(s.top_k));
        double sum = 0;
        for (size_t i = 0; i < n; ++i) sum += std::exp((c[i].logit - c[0].logit) * t);
        log_sum = std::log(sum) + c[0].logit * t;
    }
    if (s.top_p < 1) {
        double sum = 0;
        size_t i = 0;
        while (i < n && sum < s.top_p) sum += std::exp(c[i++].logit * t - log_sum);
        if (sum < s.top_p && !complete) return {};
        complete = true;
        n = std::max<size_t>(i, 1);
    }
    if (s.min_p > 0) {
        const double least = c[0].logit * t + std::log(s.min_p);
        size_t i = 1;
        while (i < n && c[i].logit * t >= least) ++i;
        if (i == n && !complete) return {};
        n = i;
    }
    return n;
}

int32_t draw(std::span<const Candidate> c, const Sampling& s, uint64_t position) {
    int32_t token = -1;
    double best = 0;
    for (auto [id, logit] : c) {
        const double score = logit / s.temperature - std::log(-std::log(uniform(s.seed, position, uint64_t(id))));
        if (token < 0 || score > best || (score == best && id < token)) best = score, token = id;
    }
    return token;
}

std::vector<Candidate> sorted(std::span<const float> row) {
    std::vector<Candidate> all;
    for (size_t i = 0; i < row.size(); ++i)
        if (row[i] > -INFINITY) all.push_back({int32_t(i), row[i]});
    std::sort(all.begin(), all.end(),
              [](Candidate a, Candidate b) { return a.logit > b.logit || (a.logit == b.logit && a.token < b.token); });
    return all;
}

}  // namespace

Sampling default_sampling(const GenerationConfig& g) {
    Sampling s;
    if (!g.sample.value_or(false)) return s;
    s.temperature = g.temperature.value_or(1);
    s.top_k = g.top_k.value_or(0);
    s.top_p = g.top_p.value_or(1);
    s.min_p = g.min_p.value_or(0);
    s.repetition = g.repetition_penalty.value_or(1);
    return s;
}

void check(const Sampling& s, int64_t vocabulary) {
    in_range("temperature", s.temperature, 0, 100);
    in_range("top_k", double(s.top_k), 0, 2147483647);
    in_range("top_p", s.top_p, 0, 1);
    in_range("min_p", s.min_p, 0, 1);
    in_range("repetition penalty", s.repetition, 0.01, 100);
    in_range("frequency penalty", s.frequency, -100, 100);
    in_range("presence penalty", s.presence, -100, 100);
    for (const LogitBias& b : s.bias) {
        in_range("token of the logit bias", b.token, 0, double(vocabulary - 1));
        if (!(std::fabs(b.bias) <= 1e9f) && b.bias != -INFINITY)
            fail(Status::invalid_argument, {.file = {}, .item = "logit bias"},
                 "%g for token %d is not a number from -1e9 to 1e9 or -inf", double(b.bias), b.token);
    }
}

Sampler::Sampler(const Sampling& s, std::span<const int32_t> prompt) : sampling(s) { restart(prompt, {}); }

void Sampler::reserve(int64_t tokens, int64_t forbidden) {
    seen.reserve(sampling.bias.size() + size_t(counts() ? tokens : 0));
    changes.reserve(seen.capacity() + size_t(forbidden));
}

void Sampler::restart(std::span<const int32_t> tokens, std::span<const Role> roles) {
    seen.clear();
    for (const LogitBias& b : sampling.bias) seen.push_back({.token = b.token, .bias = b.bias});
    for (size_t i = 0; i < tokens.size(); ++i) {
        const bool generated = i < roles.size() && roles[i] == Role::generated;
        if (sampling.repetition != 1 || (generated && counts()))
            seen.push_back({.token = tokens[i], .generated = generated, .penalised = true});
    }
    std::stable_sort(seen.begin(), seen.end(), [](const Seen& a, const Seen& b) { return a.token < b.token; });
    size_t kept = 0;
    for (size_t i = 0; i < seen.size(); ++i) {
        const Seen s = seen[i];
        if (kept == 0 || seen[kept - 1].token != s.token) seen[kept++] = {.token = s.token};
        Seen& sum = seen[kept - 1];
        sum.generated += s.generated;
        sum.bias += s.bias;
        sum.penalised = sum.penalised || s.penalised;
    }
    seen.resize(kept);
}

Sampler::Seen& Sampler::seen_of(int32_t token) {
    auto place =
        std::lower_bound(seen.begin(), seen.end(), token, [](const Seen& s, int32_t t) { return s.token < t; });
    if (place == seen.end() || place->token != token) place = seen.insert(place, {.token = token});
    return *place;
}

void Sampler::accept(int32_t token) {
    if (!counts()) return;
    Seen& t = seen_of(token);
    ++t.generated;
    t.penalised = true;
}

SampleRow Sampler::row(uint64_t position, std::span<const int32_t> forbidden) {
    changes.clear();
    for (const Seen& t : seen) {
        const double penalty = t.generated > 0 ? sampling.frequency * t.generated + sampling.presence : 0;
        changes.push_back({t.token, t.penalised ? float(sampling.repetition) : 1.f, float(t.bias - penalty)});
    }
    for (int32_t token : forbidden) {
        const auto change = std::find_if(changes.begin(), changes.end(), [&](auto& c) { return c.token == token; });
        if (change != changes.end())
            change->add = -INFINITY;
        else
            changes.push_back({token, 1, -INFINITY});
    }
    return {
        .changes = changes.data(),
        .change_count = int(changes.size()),
        .inverse_temperature = sampling.greedy() ? 0.f : float(1 / sampling.temperature),
        .seed = sampling.seed,
        .position = position,
    };
}

int32_t Sampler::pick(const SampleResult& r, uint64_t position,
                      const std::function<std::span<const float>()>& fetch_row) const {
    if (r.count == 0)
        fail(Status::malformed,
             "no token can be drawn: the logits are not numbers (damaged weights), or the request forbids every token");
    const Sampling& s = sampling;
    if (s.greedy()) return r.candidates[0].token;
    if (s.top_k == 0 && s.top_p >= 1 && s.min_p <= 0) return r.draw;
    std::span candidates{r.candidates, size_t(r.count)};
    if (auto n = keep(candidates, r.count < max_candidates, s, r.log_sum))
        return draw(candidates.first(*n), s, position);
    const std::vector<Candidate> all = sorted(fetch_row());
    return draw(std::span{all}.first(*keep(all, true, s, r.log_sum)), s, position);
}

}  // namespace alia
