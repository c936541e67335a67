// Images of handlers that were compiled before, in a folder of this user: $XDG_CACHE_HOME/ipcq/handlers, else
// $HOME/.cache/ipcq/handlers.
//
// An entry is a file, written beside its place and renamed, so there is all of it or nothing; a digest of it stands at
// its beginning. Folder and entries must belong to this user and be writable for no other: an image is code that queues
// run. Processes may use the folder at once. What was not used for the longest time is removed where entries need more
// than kMostBytes.
//
// Nothing here fails: without a folder, or with a damaged entry, a handler is compiled anew.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "program/file_descriptor.hpp"

namespace ipcq::compiler {

struct HandlerImage {
  std::string compiler;  // "NVRTC 13.0", "g++ 12.2.0"
  std::string messages;  // the compiler's warnings
  int registers = 0;     // of the persistent kernel; 0 on the host
  int spilled = 0;       // bytes that a thread of it stores
  std::string bytes;     // cubin or shared object
};

class ImageCache {
 public:
  static constexpr std::uint64_t kMostBytes = 256ull << 20;
  static constexpr std::int64_t kYoungSeconds = 60;  // entries are not removed before

  // Makes the folder if there is none. Logs a warning where there is one that is not safe to use.
  ImageCache();

  // Why there is no cache; empty: there is one.
  const std::string& unusable() const noexcept { return unusable_; }

  // None where there is no such entry, or it is damaged or not this user's alone.
  std::optional<HandlerImage> find(const std::string& name) const;
  // Logs a warning where the image cannot be kept.
  void keep(const std::string& name, const HandlerImage& image) const;

 private:
  void shrink() const;

  std::string path_;
  std::string unusable_;
  program::FileDescriptor folder_;
};

}  // namespace ipcq::compiler
