// <cstddef> for NVRTC, which brings none: sizes and bytes, as far as device code of handlers needs it.
#pragma once
namespace std {
using size_t = decltype(sizeof 0);
using ptrdiff_t = decltype(static_cast<char*>(nullptr) - static_cast<char*>(nullptr));
using nullptr_t = decltype(nullptr);
enum class byte : unsigned char {};
constexpr byte operator|(byte a, byte b) { return byte(unsigned(a) | unsigned(b)); }
constexpr byte operator&(byte a, byte b) { return byte(unsigned(a) & unsigned(b)); }
constexpr byte operator^(byte a, byte b) { return byte(unsigned(a) ^ unsigned(b)); }
constexpr byte operator~(byte a) { return byte(~unsigned(a)); }
template <class Integer>
constexpr byte operator<<(byte a, Integer n) {
  return byte(unsigned(a) << n);
}
template <class Integer>
constexpr byte operator>>(byte a, Integer n) {
  return byte(unsigned(a) >> n);
}
constexpr byte& operator|=(byte& a, byte b) { return a = a | b; }
constexpr byte& operator&=(byte& a, byte b) { return a = a & b; }
constexpr byte& operator^=(byte& a, byte b) { return a = a ^ b; }
template <class Integer>
constexpr byte& operator<<=(byte& a, Integer n) {
  return a = a << n;
}
template <class Integer>
constexpr byte& operator>>=(byte& a, Integer n) {
  return a = a >> n;
}
template <class Integer>
constexpr Integer to_integer(byte a) {
  return Integer(a);
}
}  // namespace std
using std::size_t;
#define offsetof(type, member) __INTADDR__(&(static_cast<type*>(nullptr)->member))
