// Runs the forward pass over sequences, with memory taken once.
#pragma once
#include <array>

#include "engine/forward.h"
#include "engine/sequence.h"

namespace alia {

// The next `count` pending tokens of a sequence, which has pages for them. Of the last `outputs` of these, logits are
// wanted; of the last `hidden`, hidden states.
struct Work {
    const Sequence* sequence;
    int count;
    int outputs;
    int hidden = 0;
};

struct PassLimits {
    int tokens;   // of a pass
    int outputs;  // rows of logits of a pass
    int sequences;
    int64_t context;  // positions of the longest sequence
    int hidden = 0;   // rows of hidden states of a pass
};

class Runner {
  public:
    // The device runs the model's table; both outlive the runner.
    Runner(Device&, const Model&, const PassLimits&);

    // The rows that are wanted, in the order of `work`, on the device until the next run. All of the work together
    // keeps within the limits. Passes of one generated token of each sequence are rounded up to few sizes where the
    // device replays them. The sequences do not change: Sequence::advance follows once the pass is known to have
    // succeeded.
    Rows run(const Cache&, Role, std::span<const Work> work, Observer = {});

    // One row of logits between runs, uninitialised: what the last run gave is over.
    Tensor room_for_row() const;

    // Bytes that a Runner of these limits takes. The model may be an outline.
    static int64_t bytes(const Model&, const Kernels&, const PassLimits&);

    const PassLimits limits;
    double seconds = 0;  // in the last run, for the device

  private:
    Device& device;
    const Model& model;
    Buffer arrays, memory;
    std::vector<int32_t> staging;   // the batch's arrays, as they lie on the device
    std::array<Rows, 71> replayed;  // of the sizes that passes are rounded up to: a power of two up to 64, then 64s
};

}  // namespace alia
