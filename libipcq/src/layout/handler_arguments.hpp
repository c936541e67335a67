// Arguments of a user's handler: what a runner passes to the code that was compiled with it, on the host or on a GPU,
// where they become the members that IPCQ_HANDLER names. Plain data for all compilers, NVRTC included.
//
// An image and its runner are of one build (host_image.hpp, cmake/IpcqDeviceCode.cmake), so nothing here has a version.
#pragma once

#include <cstddef>
#include <cstdint>

#include "ipcq/export.hpp"
#include "ipcq/handler.hpp"

namespace ipcq::detail {

inline constexpr unsigned kArgumentNameBytes = 32;  // the zero at the end included
inline constexpr unsigned kMostArguments = 16;
inline constexpr unsigned kMostHandlerBytes = 4096;  // of a handler on a GPU

// One NAME=VALUE, with the value as each type of parameter would have it.
struct HandlerArgument {
  char name[kArgumentNameBytes];
  double real;
  std::int64_t integer;
  std::uint8_t is_real;
  std::uint8_t is_integer;
  std::uint8_t is_yes_or_no;  // and `integer` is 1 or 0
  std::uint8_t used;          // a parameter has this name
  std::uint8_t is_big;        // `integer` holds the bits of one from 2^63 on
  std::uint8_t reserved[3];
};
static_assert(sizeof(HandlerArgument) == 56);

enum class ArgumentProblem : std::uint32_t {
  none = 0,
  not_yes_or_no = 1,
  not_integer = 2,
  out_of_range = 3,
  not_real = 4,
  unknown = 5,  // no parameter has this name
};

// HandlerReport::traits: what the runner must know of a handler on a GPU (cuda/device/call.cuh).
inline constexpr std::uint32_t kNotPlain = 1;     // the kernels alone know what length a message has afterwards
inline constexpr std::uint32_t kForOneBlock = 2;  // a message is never shared by several blocks

// What became of them.
struct HandlerReport {
  ArgumentProblem problem;
  std::uint32_t argument;  // the number of the one that it is about
  std::uint32_t bytes;     // of the handler, on a GPU
  std::uint32_t names_bytes;
  std::uint32_t traits;
  std::uint32_t takes_state;  // 1: its call takes the queue's state
  std::uint32_t serial;       // 1: and one message at a time
  char names[228];            // of the parameters: "level, rate"; cut off
};
static_assert(sizeof(HandlerReport) == 256);

template <class T>
inline constexpr bool kIsInteger = requires(T v) {
  v % v;
};

// Sets the members of a handler: called with each parameter's name and member (IPCQ_HANDLER).
class ParameterSetter {
 public:
  IPCQ_HOST_DEVICE ParameterSetter(HandlerArgument* arguments, std::uint32_t count, HandlerReport& report)
      : arguments_(arguments), count_(count), report_(report) {}

  template <class T>
  IPCQ_HOST_DEVICE void operator()(const char* name, T& member) {
    add_name(name);
    for (std::uint32_t i = 0; i < count_; ++i) {
      if (!is_same(arguments_[i].name, name)) continue;
      arguments_[i].used = 1;
      const ArgumentProblem problem = set(member, arguments_[i]);
      if (problem != ArgumentProblem::none) complain(problem, i);
    }
  }
  // After all parameters. Handler, Team: as which it is called.
  template <class Handler, class Team>
  IPCQ_HOST_DEVICE void finish() {
    report_.takes_state = handlers::TakesState<Handler, Team> ? 1 : 0;
    for (std::uint32_t i = 0; i < count_; ++i) {
      if (arguments_[i].used == 0) complain(ArgumentProblem::unknown, i);
    }
  }

 private:
  IPCQ_HOST_DEVICE static bool is_same(const char* a, const char* b) {
    while (*a != '\0' && *a == *b) ++a, ++b;
    return *a == *b;
  }
  IPCQ_HOST_DEVICE static ArgumentProblem set(bool& member, const HandlerArgument& a) {
    if (a.is_yes_or_no == 0) return ArgumentProblem::not_yes_or_no;
    member = a.integer != 0;
    return ArgumentProblem::none;
  }
  IPCQ_HOST_DEVICE static ArgumentProblem set(float& member, const HandlerArgument& a) {
    if (a.is_real == 0) return ArgumentProblem::not_real;
    constexpr double kMost = 3.4028234663852886e38;  // of a float
    const double size = a.real < 0 ? -a.real : a.real;
    if (size > kMost && size <= 1.7976931348623157e308) return ArgumentProblem::out_of_range;
    member = static_cast<float>(a.real);
    return ArgumentProblem::none;
  }
  IPCQ_HOST_DEVICE static ArgumentProblem set(double& member, const HandlerArgument& a) {
    if (a.is_real == 0) return ArgumentProblem::not_real;
    member = a.real;
    return ArgumentProblem::none;
  }
  template <class T>
  IPCQ_HOST_DEVICE static ArgumentProblem set(T& member, const HandlerArgument& a) {
    if (a.is_integer == 0) return ArgumentProblem::not_integer;
    if constexpr (kIsInteger<T>) {  // of others named_handler.hpp complains
      const bool is_unsigned = static_cast<T>(-1) > static_cast<T>(0);
      const bool fits = static_cast<std::int64_t>(static_cast<T>(a.integer)) == a.integer;
      if (!fits || (a.is_big != 0 ? !is_unsigned : is_unsigned && a.integer < 0)) {
        return ArgumentProblem::out_of_range;
      }
      member = static_cast<T>(a.integer);
    }
    return ArgumentProblem::none;
  }
  IPCQ_HOST_DEVICE void complain(ArgumentProblem problem, std::uint32_t argument) {
    if (report_.problem != ArgumentProblem::none) return;
    report_.problem = problem;
    report_.argument = argument;
  }
  IPCQ_HOST_DEVICE void add_name(const char* name) {
    const auto add = [this](char c) {
      if (report_.names_bytes + 1 < sizeof report_.names) report_.names[report_.names_bytes++] = c;
    };
    if (report_.names_bytes != 0) add(','), add(' ');
    while (*name != '\0') add(*name++);
  }

  HandlerArgument* arguments_;
  std::uint32_t count_;
  HandlerReport& report_;
};

}  // namespace ipcq::detail
