// Runs the forward pass over sequences, with memory taken once.
#pragma once
#include "engine/forward.h"
#include "engine/sequence.h"

namespace alia {

// The last `count` tokens of a sequence, whose K and V are yet to be computed; logits are wanted of the last `outputs`.
struct Work {
    const Sequence* sequence;
    int count;
    int outputs;
};

struct PassLimits {
    int tokens;   // of a pass
    int outputs;  // rows of logits of a pass
    int sequences;
    int64_t context;  // positions of the longest sequence
};

class Runner {
  public:
    // The device runs the model's table; both outlive the runner.
    Runner(Device&, const Model&, const PassLimits&);

    // Logits, a row for each wanted output in the order of `work`, on the device until the next run. All of the work
    // together keeps within the limits.
    Tensor run(const Cache&, Role, std::span<const Work> work, Observer = {});

    // Bytes that a Runner of these limits takes. The model may be an outline.
    static int64_t bytes(const Model&, const Kernels&, const PassLimits&);

    const PassLimits limits;

  private:
    Device& device;
    const Model& model;
    Buffer arrays, memory;
    std::vector<int32_t> staging;  // the batch's arrays, as they lie on the device
};

}  // namespace alia
