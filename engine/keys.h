// Reading a JSON object's members with checks.
#pragma once
#include <optional>

#include "engine/json.h"

namespace alia {

// An object whose members are read with checks that name file and key. A member that is null counts as absent.
struct Keys {
    const Json& object;
    const std::string& file;
    std::string prefix = {};  // of every key, in the file

    Place place(std::string_view key) const { return {file, key}; }
    const Json* find(std::string_view key) const { return object.find(key); }

    std::optional<double> find_real(const std::string& name, double low, double high) const {
        std::string key = prefix + name;
        const Json* value = find(key);
        if (!value) return {};
        if (!value->number()) fail(Status::malformed, place(key), "is no number");
        double x = value->as_real();
        if (!(x >= low && x <= high)) fail(Status::limit, place(key), "is %g, not from %g to %g", x, low, high);
        return x;
    }
    std::optional<int64_t> find_integer(const std::string& name, int64_t low, int64_t high) const {
        std::string key = prefix + name;
        const Json* value = find(key);
        if (!value) return {};
        if (!value->is(Json::Kind::integer)) fail(Status::malformed, place(key), "is no whole number");
        if (value->integer < low || value->integer > high)
            fail(Status::limit, place(key), "is %lld, not from %lld to %lld", (long long)value->integer, (long long)low,
                 (long long)high);
        return value->integer;
    }
    std::optional<bool> find_boolean(const std::string& name) const {
        std::string key = prefix + name;
        const Json* value = find(key);
        if (!value) return {};
        if (!value->is(Json::Kind::boolean)) fail(Status::malformed, place(key), "is neither true nor false");
        return value->boolean;
    }
    std::string find_string(const std::string& name) const {
        std::string key = prefix + name;
        const Json* value = find(key);
        if (!value) return {};
        if (!value->is(Json::Kind::string)) fail(Status::malformed, place(key), "is no string");
        return std::string(value->string());
    }
    double real(const std::string& name, double low, double high) const {
        auto value = find_real(name, low, high);
        return value ? *value : absent(name);
    }
    int64_t integer(const std::string& name, int64_t low, int64_t high) const {
        auto value = find_integer(name, low, high);
        return value ? *value : absent(name);
    }
    [[noreturn]] int absent(const std::string& name) const {
        fail(Status::missing, place(prefix + name), "this key is absent");
    }
};

}  // namespace alia
