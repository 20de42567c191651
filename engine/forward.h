// The forward pass of the Llama family.
#pragma once
#include "engine/cache.h"
#include "engine/expr.h"

namespace alia {

// Of the batch's chosen rows, b.output: the first `logits` of them want logits, the others only the hidden state.
struct Rows {
    Tensor logits;  // [logits][vocabulary]
    Tensor hidden;  // [b.outputs - logits][hidden], after the final norm, in the table's operand format
};

// K and V of every token are in the cache afterwards.
Rows forward(Ops op, const Model& m, const Cache::View& kv, const Batch& b, int logits);

}  // namespace alia
