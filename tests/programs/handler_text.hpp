// Sources of handlers for tests.
#pragma once

#include <fstream>
#include <iterator>
#include <string>

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

// That of docs/guide/handlers.md.
inline std::string handler_of_the_guide() {
  std::ifstream guide(IPCQ_HANDLER_GUIDE);
  const std::string text((std::istreambuf_iterator<char>(guide)), std::istreambuf_iterator<char>());
  const std::string mark = "```cpp\n";
  const auto begin = text.find(mark) + mark.size();
  return text.substr(begin, text.find("```", begin) - begin);
}

}  // namespace ipcq_test
