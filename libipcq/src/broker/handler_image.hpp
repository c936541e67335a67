// A handler of the user's, compiled: a child process (ipcq-compiler) compiles the source file, since neither the
// compiler nor the file is to be trusted with the broker's process.
//
// Thread-safe. An image is constant once it is made.
#pragma once

#include <memory>
#include <string>

#include "base/os.hpp"
#include "ipcq/options.hpp"

namespace ipcq::detail {

// For which machine: one GPU's, by its compute capability (90 for 9.0), or the host.
struct HandlerTarget {
  unsigned capability = 0;  // 0: the host
};

struct HandlerImage {
  Fd file;                 // what a runner loads, in memory
  std::string said;        // by the compiler: "x.cu: compiled for sm_90 (NVRTC 13.0, 1.3 s): ..."
  std::string warned;      // not empty: its warnings, each line of them behind "\n  "
  std::string linked_key;  // not empty: it is only linked, and this is what a whole one is to be made of
};

struct Making {
  bool may_be_linked = false;  // a quick image will do, where the compiler can make one
  std::string only_of{};       // not empty: a linked_key; fails where the handler's file or a header has changed since
};

// Without the mutex. Compiles options.handler, or takes it from the user's cache; gives up when `cancel` becomes
// readable, and after ten minutes. `object`, which begins the texts of errors: "queue 'q'". Throws UsageError with the
// compiler's messages, whole, where the file does not compile; NotFoundError: there is no such file; BackendError: no
// compiler, or it fails for other reasons; SystemError.
std::shared_ptr<const HandlerImage> compile_handler(const std::string& object, const QueueOptions& options,
                                                    HandlerTarget target, const Making& making, int cancel);

}  // namespace ipcq::detail
