// Sources of handlers for tests.
#pragma once

#include <fstream>
#include <iterator>
#include <string>
#include <vector>

namespace ipcq_test {

// A handler of whole words whose operator() is `body`, after `before`. Without that the body begins in the sixth line.
inline std::string handler_text(const std::string& body, const std::string& before = "") {
  return "#include <ipcq/handler.hpp>\n" + before +
         "struct Mine {\n"
         "  static constexpr bool accepts(std::uint64_t length) { return length % 4 == 0; }\n"
         "  template <class Team>\n"
         "  IPCQ_HOST_DEVICE void operator()(std::byte* data, std::uint64_t length, Team team) const {\n" +
         body +
         "\n  }\n"
         "};\n"
         "IPCQ_HANDLER(Mine)\n";
}

inline const std::string kNoWork = "    (void)data, (void)length, (void)team;";

// Those of docs/guide/handlers.md.
inline std::vector<std::string> handlers_of_the_guide() {
  std::ifstream guide(IPCQ_HANDLER_GUIDE);
  const std::string text((std::istreambuf_iterator<char>(guide)), std::istreambuf_iterator<char>());
  const std::string mark = "```cpp\n";
  std::vector<std::string> handlers;
  for (std::size_t at = text.find(mark); at != std::string::npos; at = text.find(mark, at)) {
    at += mark.size();
    handlers.push_back(text.substr(at, text.find("```", at) - at));
  }
  return handlers;
}

}  // namespace ipcq_test
