// Where one request's failure must not be everybody's: the engine's only catch.
#pragma once
#include <new>
#include <optional>

#include "kernels/error.h"

namespace alia {

// Calls f. What it throws comes back as an Error, std::bad_alloc as out_of_memory.
template <class F>
std::optional<Error> attempt(F&& f) {
    const auto said = [](Status status, const char* what) {
        Error error;
        error.status = status;
        std::snprintf(error.message, sizeof error.message, "%s", what);
        return error;
    };
    try {
        f();
        return {};
    } catch (const Error& e) {
        return e;
    } catch (const std::bad_alloc&) {
        return said(Status::out_of_memory, "the host has no memory left");
    } catch (const std::exception& e) {
        return said(Status::internal, e.what());
    }
}

}  // namespace alia
