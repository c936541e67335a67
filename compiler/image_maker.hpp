// From a handler's file to the image that a runner loads, whatever kind of file it is.
#pragma once

#include <optional>
#include <string>

#include "handler_source.hpp"
#include "image_cache.hpp"

namespace ipcq::compiler {

struct MadeImage {
  std::optional<HandlerImage> image;  // none: the compiler refuses the file, and has said why on standard error
  bool cached = false;
  std::string not_kept;  // why it is not in the cache, where that was asked for
};

// Call it while this process has one thread. Throws program::Failure, for reasons that are not in a source's text.
MadeImage make_image(const HandlerSource& source, bool use_cache);

}  // namespace ipcq::compiler
