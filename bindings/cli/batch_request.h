// A line of a batch: one request.
#pragma once
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "capi/alia.h"

namespace cli {

struct BatchRequest {
    std::string id = "null";  // as JSON: a string, a number or null
    std::string messages;     // as JSON; "" where there is a prompt instead
    std::string prompt;
    std::vector<std::string> stop;  // texts
    alia_request_options options = ALIA_REQUEST_OPTIONS_INIT;

    // Points `options` to the texts of `stop`, which a copy or move would leave behind.
    void lend_stops();

  private:
    std::vector<const char*> stop_text;
    std::vector<uint64_t> stop_length;
};

// The line's "id", or "null", whatever else is wrong with it.
std::string batch_id(std::string_view line);
// `defaults` hold for the fields that the line lacks. Throws Failure.
BatchRequest read_batch_request(std::string_view line, const alia_request_options& defaults);

}  // namespace cli
