#include "kept_variables.hpp"

#include <algorithm>
#include <cctype>
#include <regex>
#include <sstream>
#include <vector>

#include <boost/core/demangle.hpp>

namespace ipcq::compiler {
namespace {

struct Variable {
  std::string name;
  bool is_visible = false;   // to other files, which constants of a file are not
  bool has_value = false;    // from the beginning, other than zero
  bool is_used = false;      // constants that are no tables are not, as variables
  bool is_written = false;   // by its name
  bool has_address = false;  // in a register
};

// In a namespace of the library's, or of C linkage with its prefix. NVRTC puts that of the text before the former.
bool is_ours(const std::string& name) {
  static const std::regex ours(R"(^ipcq_|^_ZZ?N[VK]*(\d+_INTERNAL\w*?)?(4ipcq|13ipcq_compiler))");
  return std::regex_search(name, ours);
}

bool names(const std::string& line, const std::string& name) {
  const auto is_part = [](char c) { return c == '$' || c == '_' || std::isalnum(static_cast<unsigned char>(c)) != 0; };
  for (std::size_t at = 0; (at = line.find(name, at)) != std::string::npos; ++at) {
    const std::size_t end = at + name.size();
    if ((at == 0 || !is_part(line[at - 1])) && (end == line.size() || !is_part(line[end]))) return true;
  }
  return false;
}

}  // namespace

std::string kept_variable(const std::string& ptx) {
  static const std::regex declared(
      R"(^(\.visible |\.weak )?\.global (?:(?:\.\w+(?:\([^)]*\))?|\d+) )*([$\w]+)(?:\[\d*\])*( = )?)"),
      writes(R"(^\s*(?:@!?%p\d+ )?(?:st|atom|red)(?:\.\w+)*\.global\S*\s)"), takes_address(R"(^\s*(?:mov|cvta)\.)");
  std::vector<Variable> all;
  bool in_configure = false;  // that kernel writes what it is given
  bool writes_to_address = false;
  std::istringstream lines(ptx);
  for (std::string line; std::getline(lines, line);) {
    std::smatch found;
    if (std::regex_search(line, found, declared)) {
      const std::string name = found[2];
      if (is_ours(name) || name.starts_with("$str")) continue;  // the latter: texts
      all.push_back({.name = name, .is_visible = found[1] == ".visible ", .has_value = found[3].matched});
      continue;
    }
    if (line.find(".entry ipcq_configure_user(") != std::string::npos) in_configure = true;
    if (line.starts_with("}")) in_configure = false;
    if (in_configure) continue;
    const bool is_write = std::regex_search(line, writes);
    if (is_write && line.find("[%") != std::string::npos) writes_to_address = true;
    for (Variable& v : all) {
      if (!names(line, v.name)) continue;
      v.is_used = true;
      v.is_written |= is_write;
      v.has_address |= std::regex_search(line, takes_address);
    }
  }
  const auto keeps = [&](const Variable& v) {
    return v.is_visible || (v.is_used && !v.has_value) || v.is_written || (v.has_address && writes_to_address);
  };
  const auto kept = std::find_if(all.begin(), all.end(), keeps);
  return kept == all.end() ? std::string() : boost::core::demangle(kept->name.c_str());
}

}  // namespace ipcq::compiler
