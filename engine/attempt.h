// Where one request's failure must not be everybody's: the engine's only catch.
#pragma once
#include <new>
#include <optional>

#include "kernels/error.h"

namespace alia {

// Calls f. What it throws comes back as an Error, std::bad_alloc as out_of_memory.
template <class F>
std::optional<Error> attempt(F&& f) {
    Error error;
    auto say = [&error](Status status, const char* what) {
        error.status = status;
        std::snprintf(error.message, sizeof error.message, "%s", what);
    };
    try {
        f();
        return {};
    } catch (const Error& e) {
        return e;
    } catch (const std::bad_alloc&) {
        say(Status::out_of_memory, "the host has no memory left");
    } catch (const std::exception& e) {
        say(Status::internal, e.what());
    }
    return error;
}

}  // namespace alia
