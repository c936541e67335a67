// After the user's file: which type is the handler, whether it can be one, and the kernels. The messages are for the
// file's author.
#pragma once

#include "device/executors.cuh"

namespace ipcq_compiler {
struct NoHandler {};
}  // namespace ipcq_compiler
// What IPCQ_HANDLER has declared for `int` is the better match.
template <class Any>
ipcq_compiler::NoHandler ipcq_handler_of_this_file(Any);

namespace ipcq_compiler {

using Handler = decltype(::ipcq_handler_of_this_file(0));
template <class H>
constexpr bool is_named = true;
template <>
constexpr bool is_named<NoHandler> = false;
template <class H>
concept Accepts = requires(unsigned long length) {
  static_cast<bool>(H::accepts(length));
};
template <class H>
concept Callable = requires(const H& handler, std::byte* data, unsigned long length, ipcq::detail::Team team) {
  H();
  handler(data, length, team);
};

static_assert(is_named<Handler>, "the file names no handler: IPCQ_HANDLER(Type) is missing, or stands in a namespace");
static_assert(!is_named<Handler> || Accepts<Handler>,
              "the handler needs: static constexpr bool accepts(std::uint64_t length)");
static_assert(!is_named<Handler> || Callable<Handler>,
              "the handler needs: template <class Team> IPCQ_HOST_DEVICE void operator()(std::byte* data, "
              "std::uint64_t length, Team team) const; and a constructor without arguments");

// Else the kernels would repeat in their words what is said above.
struct Stub {
  static constexpr bool accepts(unsigned long) { return false; }
  template <class Team>
  void operator()(std::byte*, unsigned long, Team) const {}
};
template <bool kUsable>
struct Choice {
  using Type = Stub;
};
template <>
struct Choice<true> {
  using Type = Handler;
};
using Chosen = Choice<Accepts<Handler> && Callable<Handler>>::Type;

// Instantiates the handler's functions before the kernels do: messages about them do not name these.
inline bool call_once(std::byte* data, unsigned long length, const ipcq::detail::Team& team) {
  if (!Chosen::accepts(length)) return false;
  Chosen()(data, length, team);
  return true;
}

}  // namespace ipcq_compiler

IPCQ_EXECUTOR_KERNELS(user, ipcq_compiler::Chosen)
