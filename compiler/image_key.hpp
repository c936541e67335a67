// What an image depends on, as the name under which it is kept.
#pragma once

#include <string>
#include <string_view>

#include "handler_source.hpp"

namespace ipcq::compiler {

// A UUID of the text by its SHA-1 (RFC 4122, version 5).
std::string digest_of(std::string_view text);

// Path, size and time of the last change of the file to which a path leads at last.
std::string file_identity(const std::string& path);

struct ImageKey {
  std::string name;     // of a file
  std::string unknown;  // not empty: why it may not be all, and nothing is to be kept under the name
};
// Of the source, the headers that it reaches now, its target, and the code that it is compiled with. `compiler`: what
// changes when the compiler does.
ImageKey image_key(const HandlerSource& source, const std::string& compiler);

}  // namespace ipcq::compiler
