// What a call gives: a value, or why there is none.
#pragma once
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>

#include "../alia.h"

// A program may have code with exceptions and code without: their functions have different names.
#ifdef __cpp_exceptions
#define ALIA_HPP v0
#else
#define ALIA_HPP v0_without_exceptions
#endif

namespace alia {
inline namespace ALIA_HPP {

struct error : std::exception {
    alia_status status = ALIA_OK;
    std::string message;        // one sentence
    std::string item;           // the tensor, key or argument that it is about, or ""
    int64_t offset = -1;        // the byte that it is about, or -1
    bool handle_usable = true;  // false: the handle can only be freed
    std::exception_ptr cause;   // what a function of the caller threw; thrown again in this error's place

    error() = default;
    explicit error(alia_status s, std::string sentence = {}, std::string about = {})
        : status(s), message(std::move(sentence)), item(std::move(about)) {}
    static error last() {  // the calling thread's
        error e(alia_error_status(), alia_error_message(), alia_error_item());
        e.offset = alia_error_offset();
        e.handle_usable = alia_error_handle_usable() != 0;
        return e;
    }
    const char* what() const noexcept override { return message.c_str(); }
};

#ifdef __cpp_exceptions
namespace detail {
[[noreturn]] inline void raise(const error& e) {
    if (e.cause) std::rethrow_exception(e.cause);
    throw e;
}
}  // namespace detail
#endif

// A T, or why there is none. `*r` and `r->` are for one that holds a T, error() for one that does not.
template <class T>
class [[nodiscard]] result {
  public:
    result(T value) : state(std::in_place_index<0>, std::move(value)) {}
    result(alia::error why) : state(std::in_place_index<1>, std::move(why)) {}

    bool has_value() const noexcept { return state.index() == 0; }
    explicit operator bool() const noexcept { return has_value(); }
    T& operator*() & noexcept { return *std::get_if<0>(&state); }
    const T& operator*() const& noexcept { return *std::get_if<0>(&state); }
    T&& operator*() && noexcept { return std::move(*std::get_if<0>(&state)); }
    T* operator->() noexcept { return std::get_if<0>(&state); }
    const T* operator->() const noexcept { return std::get_if<0>(&state); }
    const alia::error& error() const noexcept { return *std::get_if<1>(&state); }

#ifdef __cpp_exceptions
    T& value() & { return check(), **this; }
    const T& value() const& { return check(), **this; }
    T value() && { return check(), *std::move(*this); }
    operator T() && { return std::move(*this).value(); }

  private:
    void check() const {
        if (!has_value()) detail::raise(error());
    }
#endif

  private:
    std::variant<T, alia::error> state;
};

// A result that has not to be copied to be used as a T.
template <class T>
struct element : result<T> {
    using result<T>::result;
#ifdef __cpp_exceptions
    operator const T&() const { return this->value(); }
#endif
};

template <>
class [[nodiscard]] result<void> {
  public:
    result() = default;
    result(alia::error why) : failure(std::move(why)) {}

    bool has_value() const noexcept { return !failure; }
    explicit operator bool() const noexcept { return has_value(); }
    const alia::error& error() const noexcept { return *failure; }
#ifdef __cpp_exceptions
    void value() const {
        if (failure) detail::raise(*failure);
    }
#endif

  private:
    std::optional<alia::error> failure;
};

namespace detail {

// What C functions give, as results.

inline result<void> checked(alia_status status) {
    if (status) return error::last();
    return {};
}

// The T that `call` writes behind its arguments.
template <class T, class F, class... A>
result<T> made(F&& call, A... arguments) {
    T value{};
    if (call(arguments..., &value)) return error::last();
    return value;
}

// The array that `call` lends, or, given a `free`, hands over, as a Container.
template <class Container, class T, class F, class... A>
result<Container> array(void (*free)(T*), F&& call, A... arguments) {
    T* data = nullptr;
    uint64_t count = 0;
    if (call(arguments..., &data, &count)) return error::last();
    const std::unique_ptr<T, void (*)(T*)> owner(data, free);
    auto* first = static_cast<typename Container::const_pointer>(static_cast<const void*>(data));
    return Container(first, first + count);
}
template <class F, class... A>
result<std::string> text(F&& call, A... arguments) {
    return array<std::string>(alia_text_free, call, arguments...);
}
template <class T>
void lent(T*) {}

}  // namespace detail

}  // namespace ALIA_HPP
}  // namespace alia
