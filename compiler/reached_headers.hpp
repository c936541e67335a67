// The headers that a source text reaches by #include, found without a compiler: rather too many than one too few, so
// that an image is not taken for one of other headers. Conditions are not looked at, and a name means each file of
// that name in the folders, not the first.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace ipcq::compiler {

struct IncludedNames {
  std::vector<std::string> names;  // as they are written, without their quotes or brackets
  std::string unknown;             // not empty: why others may be included too
};
IncludedNames included_names(std::string_view text);

struct ReachedHeaders {
  struct Header {
    std::string path;  // by the folder where it was found, as that was given
    std::string text;
  };
  std::vector<Header> headers;  // in the order in which they are reached
  std::string unknown;          // not empty: why there may be others
};
// `folders`: where names are looked for, besides the folder of the header that has them. What is found in none is the
// compiler's own.
ReachedHeaders reached_headers(std::string_view text, const std::vector<std::string>& folders);

}  // namespace ipcq::compiler
