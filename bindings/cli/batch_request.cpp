// A line of a batch: one request.
#include "bindings/cli/batch_request.h"

#include <algorithm>
#include <iterator>
#include <simdjson.h>

#include "bindings/cli/client.h"
#include "bindings/cli/json.h"

namespace cli {
namespace {

namespace od = simdjson::ondemand;

// Fields of alia_request_options that a line may set, by their names there.
constexpr std::string_view numbers[] = {
    "max_tokens",         "min_tokens",        "temperature",      "top_k",   "top_p", "min_p", "seed", "priority",
    "repetition_penalty", "frequency_penalty", "presence_penalty", "deadline"};

std::string text_of(od::value value, const std::string& key) {
    std::string_view text;
    if (value.get_string().get(text)) throw Failure("\"" + key + "\" is no string", ALIA_MALFORMED);
    return std::string(text);
}

// A number as it is written.
std::string number_of(od::value value, const std::string& key) {
    std::string_view token = value.raw_json_token();
    double number;
    if (value.get_double().get(number)) throw Failure("\"" + key + "\" is no number", ALIA_MALFORMED);
    while (std::string_view(" \t\r\n").find(token.back()) != token.npos) token.remove_suffix(1);
    return std::string(token);
}

std::string id_of(od::value value) {
    switch (value.type().value()) {
        case od::json_type::string:
            return json_string(text_of(value, "id"));
        case od::json_type::number:
            return number_of(value, "id");
        case od::json_type::null:
            return "null";
        default:
            throw Failure("\"id\" is neither a string nor a number", ALIA_MALFORMED);
    }
}

void read_member(BatchRequest& r, const std::string& key, od::value value, bool& prompted) {
    if (key == "id") {
        r.id = id_of(value);
    } else if (key == "prompt") {
        r.prompt = text_of(value, key);
        prompted = true;
    } else if (key == "messages") {
        od::array list;
        if (value.get_array().get(list)) throw Failure("\"messages\" is no list", ALIA_MALFORMED);
        r.messages = std::string_view(list.raw_json());
    } else if (key == "stop") {
        if (value.type() == od::json_type::string) {
            r.stop.push_back(text_of(value, key));
            return;
        }
        od::array list;
        if (value.get_array().get(list)) throw Failure("\"stop\" is neither a string nor a list", ALIA_MALFORMED);
        for (od::value item : list) r.stop.push_back(text_of(item, key));
    } else if (std::find(std::begin(numbers), std::end(numbers), key) != std::end(numbers)) {
        const std::string number = number_of(value, key);
        check(alia_request_options_set(&r.options, key.data(), key.size(), number.data(), number.size()));
    } else if (key != "metadata") {
        throw Failure("\"" + visible(key, 40) + "\" is no field of a request", ALIA_MALFORMED);
    }
}

// Calls `read` with every member of the line's object.
template <class F>
void each_member(std::string_view line, F&& read) {
    try {
        od::parser parser;
        const simdjson::padded_string padded(line);
        od::document document = parser.iterate(padded);
        for (auto field : document.get_object()) {
            const std::string key(field.unescaped_key().value());
            read(key, field.value().value());
        }
        if (!document.current_location().error()) throw Failure("more stands behind the object", ALIA_MALFORMED);
    } catch (const simdjson::simdjson_error& e) {
        throw Failure(e.what(), ALIA_MALFORMED);
    }
}

}  // namespace

void BatchRequest::lend_stops() {
    stop_text.clear();
    stop_length.clear();
    for (const std::string& text : stop) {
        stop_text.push_back(text.data());
        stop_length.push_back(text.size());
    }
    options.stop_text = stop_text.data();
    options.stop_text_length = stop_length.data();
    options.stop_text_count = stop.size();
}

std::string batch_id(std::string_view line) {
    std::string id = "null";
    try {
        each_member(line, [&](const std::string& key, od::value value) {
            if (key == "id") id = id_of(value);
        });
    } catch (const Failure&) {  // the id may stand before what is wrong
    }
    return id;
}

BatchRequest read_batch_request(std::string_view line, const alia_request_options& defaults) {
    BatchRequest r;
    r.options = defaults;
    bool prompted = false;
    each_member(line, [&](const std::string& key, od::value value) { read_member(r, key, value, prompted); });
    if (prompted == !r.messages.empty())
        throw Failure("a request has either \"prompt\" or \"messages\"", ALIA_MALFORMED);
    return r;
}

}  // namespace cli
