// The table behind the opaque handles: a handle's value names a slot and the generation that it was given for, so that
// a freed handle, or one from elsewhere, is told apart without touching memory.
#pragma once
#include <cstdint>
#include <memory>
#include <utility>

#include "kernels/error.h"

namespace alia::capi {

enum class Kind : uint8_t { none = 0, model = 1, engine = 2 };

// An object that the table counts a use of.
struct Use {
    void* object;
    uint64_t slot;
};

// A new handle; limit where the table is full.
void* add_handle(Kind, void* object);
// The handle's object, used once more. bad_handle, naming `argument`; invalid_argument for NULL.
Use use_handle(const void* handle, Kind, const char* argument);
// Ends the handle; the use is its own. Errors likewise.
Use end_handle(const void* handle, Kind, const char* argument);
// Whether the handle still stands.
bool handle_stands(const void* handle, Kind);
// Ends a use of a slot; true where it was the last, and the handle has ended.
bool last_use(uint64_t slot);

// Keeps an object while a call works on it, even if another thread ends its handle. T names its `kind`.
template <class T>
class Held {
  public:
    explicit Held(Use use) : object(static_cast<T*>(use.object)), slot(use.slot) {}
    Held(Held&& other) noexcept : object(std::exchange(other.object, nullptr)), slot(other.slot) {}
    Held& operator=(Held&&) = delete;
    ~Held() {
        if (object && last_use(slot)) delete object;
    }
    T* operator->() const { return object; }
    T& operator*() const { return *object; }
    // The use never ends: the object stays, and its slot with it.
    void abandon() { object = nullptr; }

  private:
    T* object;
    uint64_t slot;
};

template <class T>
void* add_handle(std::unique_ptr<T> object) {
    void* handle = add_handle(T::kind, object.get());
    object.release();
    return handle;
}
template <class T>
Held<T> find_handle(const void* handle, const char* argument) {
    return Held<T>(use_handle(handle, T::kind, argument));
}
template <class T>
Held<T> remove_handle(const void* handle, const char* argument) {
    return Held<T>(end_handle(handle, T::kind, argument));
}

}  // namespace alia::capi
