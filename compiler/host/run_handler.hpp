// Before the user's file, for the host: the contract, the table's function for any handler, and the words with which
// CUDA marks functions, which mean nothing here. What is defined here is out of reach of that file's macros.
#pragma once

#include <cstring>
#include <exception>

#include "ipcq/handler.hpp"
#include "layout/host_image.hpp"

namespace ipcq::detail {

inline void copy_text(const char* text, char* to, std::uint64_t bytes) noexcept {
  if (bytes == 0) return;
  const std::uint64_t length = text == nullptr ? 0 : ::strnlen(text, bytes - 1);
  std::memcpy(to, text, length);
  to[length] = '\0';
}

// What HostImage::make makes.
template <class Handler>
struct Made {
  Handler handler{};
  State state{};
};

// The team as a GPU would have it: what is not there for this handler is not here either.
template <class Handler>
struct TeamOn : HostTeam {
  static constexpr void sync() noexcept {
    static_assert(handlers::sharing_of<Handler>() != Sharing::all, IPCQ_NO_SYNC);
  }
  std::byte* scratch() const noexcept {
    static_assert(handlers::sharing_of<Handler>() != Sharing::all && handlers::scratch_bytes_of<Handler>() != 0,
                  IPCQ_NO_SCRATCH);
    return shared;
  }
};

// HostImage::run of a handler.
template <class Handler>
void run_handler(const void* handler, HandlerMessage& message, char* why, std::uint64_t why_bytes) {
  constexpr std::uint64_t kScratch = handlers::scratch_bytes_of<Handler>();
  alignas(16) std::byte scratch[kScratch == 0 ? 1 : kScratch];
  try {
    const auto& [h, state] = *static_cast<const Made<Handler>*>(handler);
    handlers::call(h, message, TeamOn<Handler>{{scratch}}, state);
    return;
  } catch (const std::exception& error) {
    copy_text(error.what(), why, why_bytes);
  } catch (const OutOfBounds&) {
    copy_text("an index lies beyond the message", why, why_bytes);
  } catch (...) {
    copy_text("an exception that is no std::exception", why, why_bytes);
  }
  message.outcome = kThrewOutcome;
}

// HostImage::make. `Visit` visits the parameters of a handler.
template <class Handler, class Visit>
void* make_handler(HandlerArgument* arguments, std::uint32_t count, State state, HandlerReport* report) {
  Made<Handler>* made = nullptr;
  try {
    made = new Made<Handler>();
  } catch (...) {
    return nullptr;
  }
  made->state = state;
  ParameterSetter setter(arguments, count, *report);
  Visit()(made->handler, setter);
  setter.finish<Handler, TeamOn<Handler>>();
  report->serial = handlers::Serial<Handler, TeamOn<Handler>> ? 1 : 0;
  if (report->problem == ArgumentProblem::none) return made;
  delete made;
  return nullptr;
}

template <class Handler>
void destroy_handler(void* handler) {
  delete static_cast<Made<Handler>*>(handler);
}

template <class Handler, class Visit>
inline constexpr HostImage kHostImageOf = {kHostImageMagic, kAbiVersion, &make_handler<Handler, Visit>,
                                           &destroy_handler<Handler>, &run_handler<Handler>};

}  // namespace ipcq::detail

// The image says which compiler made it: ipcq-compiler looks for the text behind the colon.
#define IPCQ_TEXT_OF(...) #__VA_ARGS__
#define IPCQ_VERSION_TEXT(major, minor, patch) IPCQ_TEXT_OF(major) "." IPCQ_TEXT_OF(minor) "." IPCQ_TEXT_OF(patch)
#if defined(__clang__)
#define IPCQ_COMPILED_BY "clang++ " IPCQ_VERSION_TEXT(__clang_major__, __clang_minor__, __clang_patchlevel__)
#else
#define IPCQ_COMPILED_BY "g++ " IPCQ_VERSION_TEXT(__GNUC__, __GNUC_MINOR__, __GNUC_PATCHLEVEL__)
#endif
#if defined(__has_attribute)
#if __has_attribute(retain)
#define IPCQ_RETAIN [[gnu::retain]]
#endif
#endif
#if !defined(IPCQ_RETAIN)
#define IPCQ_RETAIN
#endif
namespace {
// Retained: linkers may drop sections that nothing refers to.
IPCQ_RETAIN [[gnu::used]] const char ipcq_compiled_by[] = "ipcq handler compiled by:" IPCQ_COMPILED_BY;
}  // namespace

#if !defined(__host__)
#define __host__
#endif
#if !defined(__device__)
#define __device__
#endif
#if !defined(__forceinline__)
#define __forceinline__ inline
#endif
