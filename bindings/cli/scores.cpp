// How well logits foretell the tokens that follow, and how far they are from a reference's.
#include "bindings/cli/scores.h"

#include <algorithm>
#include <cmath>

namespace cli {
namespace {

// The mean of what `number` gives for each score.
template <class F>
Estimate mean(std::span<const Score> scores, F&& number) {
    const double count = double(scores.size());
    double sum = 0, squares = 0;
    for (const Score& s : scores) sum += number(s);
    const double mean = sum / count;
    for (const Score& s : scores) squares += (number(s) - mean) * (number(s) - mean);
    return {mean, scores.size() < 2 ? 0 : std::sqrt(squares / (count - 1) / count)};
}

// With r = -below and p = exp(r) / sum of exp(r), the divergence is the sum of p (log p - (logits - log_sum)).
void compare(Score& s, std::span<const float> logits, double log_sum, int32_t next, const ReferenceRow& reference) {
    double sum = 0, weighted = 0;
    for (size_t i = 0; i < logits.size(); ++i) {
        const double r = -double(reference.below[i]), e = std::exp(r);
        sum += e;
        weighted += e * (r - (double(logits[i]) - log_sum));
    }
    s.reference_loss = std::log(sum) + double(reference.below[size_t(next)]);
    s.divergence = weighted / sum - std::log(sum);
    s.same_top = s.top == reference.top;
}

Estimate exponential(Estimate e) { return {std::exp(e.value), std::exp(e.value) * e.error}; }

}  // namespace

Score score(std::span<const float> logits, int32_t next, const ReferenceRow* reference) {
    const auto top = std::max_element(logits.begin(), logits.end());
    double sum = 0;
    for (float logit : logits) sum += std::exp(double(logit) - double(*top));
    const double log_sum = double(*top) + std::log(sum);
    Score s{.top = int32_t(top - logits.begin()), .loss = log_sum - double(logits[size_t(next)])};
    if (reference) compare(s, logits, log_sum, next, *reference);
    return s;
}

Summary summarise(std::span<const Score> scores) {
    std::vector<double> divergences;
    for (const Score& s : scores) divergences.push_back(s.divergence);
    std::sort(divergences.begin(), divergences.end());
    const size_t n = divergences.size();
    return {
        .positions = int64_t(n),
        .perplexity = exponential(mean(scores, [](const Score& s) { return s.loss; })),
        .reference_perplexity = exponential(mean(scores, [](const Score& s) { return s.reference_loss; })),
        .divergence = mean(scores, [](const Score& s) { return s.divergence; }),
        .divergence_median = (divergences[(n - 1) / 2] + divergences[n / 2]) / 2,
        .divergence_999 = divergences[n - 1 - n / 1000],
        .divergence_largest = divergences.back(),
        .same_top = mean(scores, [](const Score& s) { return s.same_top ? 1.0 : 0.0; }),
    };
}

}  // namespace cli
