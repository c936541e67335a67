#include "ipcq/error.hpp"

namespace ipcq {
namespace {

// what() is a C string: a zero byte in a name that the text quotes would cut the text off.
std::string without_zero_bytes(std::string text) {
  const std::string said = "\\x00";
  for (auto at = text.find('\0'); at != std::string::npos; at = text.find('\0', at)) text.replace(at, 1, said);
  return text;
}

}  // namespace

Error::Error(const std::string& what) : std::runtime_error(without_zero_bytes(what)) {}

}  // namespace ipcq
