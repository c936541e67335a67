#include "reached_headers.hpp"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <set>

namespace ipcq::compiler {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMostHeaders = 10000;
constexpr std::size_t kMostBytes = 64 << 20;  // of them all

bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\f' || c == '\v'; }
bool is_of_name(char c) {
  return c == '_' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

// Lines that a backslash continues become one. Compilers let blanks stand between it and the line's end.
std::string without_splices(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\') {
      std::size_t end = i + 1;
      while (end < text.size() && is_blank(text[end])) ++end;
      if (end < text.size() && text[end] == '\n') {
        i = end;
        continue;
      }
    }
    out += text[i];
  }
  return out;
}

// Behind blanks and comments.
std::string_view skip_blanks(std::string_view rest) {
  for (;;) {
    while (!rest.empty() && is_blank(rest.front())) rest.remove_prefix(1);
    if (!rest.starts_with("/*")) return rest;
    const auto end = rest.find("*/", 2);
    if (end == std::string_view::npos) return rest;  // goes on in the next line: no name, and so unknown
    rest.remove_prefix(end + 2);
  }
}

std::optional<std::string> name_at(std::string_view rest) {
  if (rest.empty() || (rest.front() != '"' && rest.front() != '<')) return {};
  const auto end = rest.find(rest.front() == '"' ? '"' : '>', 1);
  if (end == std::string_view::npos) return {};
  return std::string(rest.substr(1, end - 1));
}

class Scan {
 public:
  // A line with all that is spliced to it.
  void read(std::string_view line) {
    for (std::size_t at = 0; at < line.size(); ++at) {
      if (line[at] == '#' && is_first(line.substr(0, at))) read_directive(line.substr(at + 1));
      if (line.substr(at).starts_with("%:") && is_first(line.substr(0, at))) read_directive(line.substr(at + 2));
      if (line.substr(at).starts_with("__has_include")) read_question(line.substr(at));
      if (line.substr(at).starts_with(".incbin")) out_.unknown = "an .incbin names a file";
    }
  }
  IncludedNames take() { return std::move(out_); }

 private:
  // Nothing but blanks and comments before it, as far as this line shows.
  static bool is_first(std::string_view before) {
    const auto comment = before.rfind("*/");
    if (comment != std::string_view::npos) before.remove_prefix(comment + 2);
    return std::all_of(before.begin(), before.end(), is_blank);
  }
  void read_directive(std::string_view rest) {
    rest = skip_blanks(rest);
    const auto end = std::find_if_not(rest.begin(), rest.end(), is_of_name);
    const std::string_view word = rest.substr(0, static_cast<std::size_t>(end - rest.begin()));
    if (word == "include" || word == "include_next" || word == "import" || word == "embed") {
      add(skip_blanks(rest.substr(word.size())));
    } else if (rest.starts_with("/*")) {
      out_.unknown = "a comment of several lines stands in a directive";
    }
  }
  // __has_include(...): what is not there yet may be there later.
  void read_question(std::string_view rest) {
    const auto end = std::find_if_not(rest.begin(), rest.end(), is_of_name);
    rest = skip_blanks(rest.substr(static_cast<std::size_t>(end - rest.begin())));
    if (rest.starts_with("(")) add(skip_blanks(rest.substr(1)));
  }
  void add(std::string_view rest) {
    if (auto name = name_at(rest)) {
      out_.names.push_back(std::move(*name));
    } else {
      out_.unknown = "an #include names its file by a macro";
    }
  }

  IncludedNames out_;
};

std::optional<std::string> read_header(const fs::path& path) {
  std::error_code ignored;
  if (!fs::is_regular_file(path, ignored)) return {};
  std::ifstream file(path, std::ios::binary);
  if (!file.is_open()) return {};
  return std::string{std::istreambuf_iterator<char>(file), {}};
}

// Files that are reached by several ways are one if their folder is, whose other files they include.
std::string identity_of(const fs::path& path) {
  std::error_code error;
  const fs::path folder = fs::canonical(path.has_parent_path() ? path.parent_path() : fs::path("."), error);
  return error ? path.string() : (folder / path.filename()).string();
}

}  // namespace

IncludedNames included_names(std::string_view text) {
  const std::string whole = without_splices(text);
  std::string_view rest = whole;
  Scan scan;
  while (!rest.empty()) {
    const auto end = std::min(rest.find('\n'), rest.size());
    scan.read(rest.substr(0, end));
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return scan.take();
}

ReachedHeaders reached_headers(std::string_view text, const std::vector<std::string>& folders) {
  ReachedHeaders out;
  std::set<std::string> seen;
  std::size_t bytes = 0;
  const auto reach = [&](std::string_view from, const std::optional<fs::path>& own_folder) {
    IncludedNames found = included_names(from);
    if (!found.unknown.empty()) out.unknown = found.unknown;
    std::vector<fs::path> places(folders.begin(), folders.end());
    if (own_folder) places.insert(places.begin(), *own_folder);
    for (const std::string& name : found.names) {
      for (const fs::path& place : places) {
        const fs::path path = place / name;
        if (seen.contains(identity_of(path))) continue;
        auto content = read_header(path);
        if (!content) continue;
        seen.insert(identity_of(path));
        bytes += content->size();
        out.headers.push_back({path, std::move(*content)});
      }
    }
  };
  reach(text, {});
  for (std::size_t next = 0; next < out.headers.size(); ++next) {
    if (out.headers.size() > kMostHeaders || bytes > kMostBytes) {
      out.unknown = "it includes too many headers";
      break;
    }
    const ReachedHeaders::Header header = out.headers[next];  // a copy: the vector grows
    reach(header.text, fs::path(header.path).parent_path());
  }
  return out;
}

}  // namespace ipcq::compiler
