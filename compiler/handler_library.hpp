// A handler's library, built ahead by ipcq_add_handler(): whether a queue can use it, and the image in it.
#pragma once

#include "handler_source.hpp"
#include "image_cache.hpp"

namespace ipcq::compiler {

// `source.text`: the file's bytes. For a GPU the image is the fat binary in it, for the host the file. Throws
// program::Failure: it is no such library, of another release, for another machine, or without code for the GPU.
HandlerImage image_of_library(const HandlerSource& source);

}  // namespace ipcq::compiler
