// The forward pass of the Llama family.
#pragma once
#include "engine/cache.h"
#include "engine/expr.h"

namespace alia {

// Logits [b.outputs][vocabulary] of the batch's chosen rows; K and V of every token are in the cache afterwards.
Tensor forward(Ops op, const Model& m, const Cache::View& kv, const Batch& b);

}  // namespace alia
