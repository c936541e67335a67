#include "image_key.hpp"

#include <sys/stat.h>

#include <filesystem>
#include <ipcq/version.hpp>
#include <sstream>
#include <vector>

#include <boost/uuid/name_generator_sha1.hpp>
#include <boost/uuid/uuid.hpp>
#include <boost/uuid/uuid_io.hpp>

#include <fmt/format.h>

#include "environment.hpp"
#include "reached_headers.hpp"

namespace ipcq::compiler {
namespace {

// Parts with their lengths before them: no two lists of parts make the same text.
class Parts {
 public:
  void add(std::string_view part) { text_ += fmt::format("{}:{}", part.size(), part); }
  template <class All>
  void add_all(const All& all) {
    add(std::to_string(all.size()));
    for (const auto& one : all) add(one);
  }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

// Where the compilers look for headers that are not their own.
std::vector<std::string> folders_of(const HandlerSource& source) {
  std::vector<std::string> all = {source.folder()};
  all.insert(all.end(), source.include_dirs.begin(), source.include_dirs.end());
  if (!source.for_host()) return all;
  for (const char* variable : {"CPATH", "CPLUS_INCLUDE_PATH"}) {
    std::istringstream folders(environment(variable));
    for (std::string folder; std::getline(folders, folder, ':');) all.push_back(folder.empty() ? "." : folder);
  }
  return all;
}

}  // namespace

std::string digest_of(std::string_view text) {
  const boost::uuids::name_generator_sha1 generate(boost::uuids::ns::oid());
  return boost::uuids::to_string(generate(text.data(), text.size()));
}

std::string file_identity(const std::string& path) {
  std::error_code ignored;
  struct stat file {};
  static_cast<void>(::stat(path.c_str(), &file));
  return fmt::format("{}\n{}\n{}.{:09}", std::filesystem::canonical(path, ignored).string(), file.st_size,
                     file.st_mtim.tv_sec, file.st_mtim.tv_nsec);
}

ImageKey image_key(const HandlerSource& source, const std::string& compiler) {
  const ReachedHeaders reached =
      source.is_linked() ? ReachedHeaders{} : reached_headers(source.text, folders_of(source));
  const Program program = source.for_host() ? host_program(source) : device_program(source);
  Parts parts;
  parts.add(IPCQ_VERSION);
  parts.add(source.for_host() ? "host " IPCQ_HOST_CODE : "device " IPCQ_DEVICE_CODE);
  parts.add(compiler);
  parts.add(source.path);  // messages name it
  parts.add(source.element);
  parts.add(source.text);
  parts.add(program.text);
  parts.add_all(program.options);  // among them architecture, definitions and folders
  parts.add_all(source.definitions);
  parts.add_all(source.include_dirs);
  for (const auto& header : reached.headers) {
    parts.add(header.path);
    parts.add(header.text);
  }
  return {digest_of(parts.text()) + (source.for_host() ? ".so" : ".cubin"), reached.unknown};
}

}  // namespace ipcq::compiler
