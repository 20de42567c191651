// The table behind the opaque handles: a handle's value names a slot and the generation that it was given for, so that
// a freed handle, or one from elsewhere, is told apart without touching memory.
#pragma once
#include <cstdint>
#include <memory>

#include "kernels/error.h"

namespace alia::capi {

enum class Kind : uint8_t { none = 0, model = 1, engine = 2 };
using Owner = std::shared_ptr<void>;

// The new handle; limit where the table is full.
void* add_handle(Kind, Owner object);
// The object, which lives at least as long as the result even if another thread frees the handle. bad_handle, naming
// `argument`; invalid_argument for NULL.
Owner find_handle(const void* handle, Kind, const char* argument);
// Whether the handle still stands.
bool handle_stands(const void* handle, Kind);
// Ends the handle and hands its owner out. bad_handle.
std::unique_ptr<Owner> remove_handle(const void* handle, Kind, const char* argument);

}  // namespace alia::capi
