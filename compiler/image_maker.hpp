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
  std::string quick_key;  // of what was linked quickly: names all that it was made of; else empty
  std::string not_quick;  // why not, where that was asked for
  std::string not_kept;   // why it is not in the cache, where that was asked for
};

struct MakingOptions {
  bool use_cache = false;
  // Of a source for a GPU that is not in the cache: links it to kernels that were compiled before, where that is
  // possible. Its calls are not inlined, so the image is for the time until there is another one, and is not kept.
  bool quick = false;
  // Not empty: makes an image only of what was linked quickly under this key.
  std::string only_of;
};

// Call it while this process has one thread. Throws program::Failure, for reasons that are not in a source's text.
MadeImage make_image(const HandlerSource& source, const MakingOptions& options);

}  // namespace ipcq::compiler
