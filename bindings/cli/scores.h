// How well logits foretell the tokens that follow, and how far they are from a reference's.
#pragma once
#include <span>

#include "bindings/cli/logits_file.h"

namespace cli {

// Of one position, in nats.
struct Score {
    int32_t top = 0;  // the best token, the first of equals
    double loss = 0;  // minus the log-probability of the token that follows
    // With a reference:
    double reference_loss = 0;
    double divergence = 0;  // Kullback-Leibler, from the reference to these logits
    bool same_top = false;
};

// `reference` may be null. The loss is infinite or NaN where a logit is not finite.
Score score(std::span<const float> logits, int32_t next, const ReferenceRow* reference);

struct Estimate {
    double value, error;  // error: standard error, as if positions were independent
};

struct Summary {
    int64_t positions;
    Estimate perplexity, reference_perplexity;
    Estimate divergence;  // its mean
    double divergence_median, divergence_999, divergence_largest;
    Estimate same_top;  // share of positions
};
// Of at least one score. 99.9 %: the smallest divergence that no more than a thousandth of the positions exceed.
Summary summarise(std::span<const Score>);

}  // namespace cli
