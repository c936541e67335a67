// <cstddef> for NVRTC, which brings none: sizes and bytes, as far as device code of handlers needs it.
#pragma once
namespace std {
using size_t = decltype(sizeof 0);
using ptrdiff_t = decltype(static_cast<char*>(nullptr) - static_cast<char*>(nullptr));
using nullptr_t = decltype(nullptr);
enum class byte : unsigned char {};
}  // namespace std
using std::size_t;
#define offsetof(type, member) __INTADDR__(&(static_cast<type*>(nullptr)->member))
