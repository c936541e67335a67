#include "image_cache.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <memory>
#include <regex>
#include <sstream>
#include <vector>

#include <fmt/format.h>

#include "environment.hpp"
#include "image_file.hpp"
#include "image_key.hpp"
#include "program/logging.hpp"

namespace ipcq::compiler {
namespace {

using program::FileDescriptor;
namespace log = program::log;

constexpr const char* kMagic = "ipcq-handler-1";

// The folder of this user's caches; empty if the environment names none. A relative one counts as none (XDG), and so
// does a home directory that is not there: it is not made.
std::filesystem::path place_of_caches() {
  if (std::filesystem::path given = environment("XDG_CACHE_HOME"); given.is_absolute()) return given;
  const std::filesystem::path home = environment("HOME");
  std::error_code ignored;
  return home.is_absolute() && std::filesystem::is_directory(home, ignored) ? home / ".cache" : std::filesystem::path();
}

// Makes what is missing of a path, for this user alone. Whether it is there shows when it is opened.
void make_folders(const std::filesystem::path& path) {
  std::filesystem::path made;
  for (const auto& part : path) {
    made /= part;
    ::mkdir(made.c_str(), 0700);
  }
}

// Why others could change what lies there; empty if they cannot.
std::string distrust_of(const struct stat& file) {
  if (file.st_uid != ::geteuid()) return fmt::format("it belongs to user {}, and not to {}", file.st_uid, ::geteuid());
  if ((file.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
    return fmt::format("others may write there (mode {:o})", file.st_mode & 07777);
  }
  return {};
}

// An entry: a line with the digest of what is behind it and the lengths of its parts, then compiler, messages, image.
std::string entry_of(const HandlerImage& image) {
  const std::string rest =
      fmt::format("{} {} {} {} {}\n{}{}{}", image.registers, image.spilled, image.compiler.size(),
                  image.messages.size(), image.bytes.size(), image.compiler, image.messages, image.bytes);
  return fmt::format("{} {}\n{}", kMagic, digest_of(rest), rest);
}

std::optional<HandlerImage> image_of(const std::string& entry) {
  std::istringstream lines(entry);
  std::string magic, digest;
  std::size_t compiler = 0, messages = 0, bytes = 0;
  if (!(lines >> magic >> digest) || magic != kMagic) return {};
  const std::size_t begin = magic.size() + 1 + digest.size() + 1;
  if (begin > entry.size() || digest_of(std::string_view(entry).substr(begin)) != digest) return {};
  HandlerImage image;
  if (!(lines >> image.registers >> image.spilled >> compiler >> messages >> bytes) || lines.get() != '\n') return {};
  auto at = static_cast<std::size_t>(lines.tellg());
  const auto take = [&](std::size_t length) {
    std::string part = entry.substr(at, length);
    at += part.size();
    return part;
  };
  image.compiler = take(compiler), image.messages = take(messages), image.bytes = take(bytes);
  if (at != entry.size() || image.bytes.empty()) return {};
  return image;
}

// What lies in the folder under names that this file gives; nothing else is ever removed.
struct Entry {
  std::string name;
  std::uint64_t bytes = 0;
  std::int64_t changed = 0;  // seconds
};
std::vector<Entry> entries_in(int folder) {
  static const std::regex own("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\\.(so|cubin)(\\.[0-9]+\\.[0-9]+\\.new)?");
  std::vector<Entry> all;
  const int fd = ::openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const std::unique_ptr<DIR, int (*)(DIR*)> listing(fd < 0 ? nullptr : ::fdopendir(fd), &::closedir);
  if (!listing) return all;
  while (const dirent* const one = ::readdir(listing.get())) {
    struct stat file {};
    if (!std::regex_match(one->d_name, own)) continue;
    if (::fstatat(folder, one->d_name, &file, AT_SYMLINK_NOFOLLOW) != 0 || S_ISDIR(file.st_mode)) continue;
    all.push_back({one->d_name, static_cast<std::uint64_t>(file.st_size), file.st_mtim.tv_sec});
  }
  return all;
}

}  // namespace

ImageCache::ImageCache() {
  const auto caches = place_of_caches();
  if (caches.empty()) {
    unusable_ = "neither XDG_CACHE_HOME nor HOME names a folder";
    return;
  }
  path_ = caches / "ipcq" / "handlers";
  make_folders(path_);
  // Both, as one who may write to the upper one may put another in the lower one's place.
  for (const auto& path : {caches / "ipcq", caches / "ipcq" / "handlers"}) {
    folder_ = FileDescriptor(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    struct stat file {};
    if (!folder_.valid() || ::fstat(folder_.get(), &file) != 0) {
      unusable_ = fmt::format("'{}': {}", path.string(), std::strerror(errno));
    } else if (const std::string why = distrust_of(file); !why.empty()) {
      unusable_ = fmt::format("'{}' is not safe: {}", path.string(), why);
    }
    if (!unusable_.empty()) {
      log::warn("no cache of handlers: {}; make it a folder of yours alone (chmod 700), or set XDG_CACHE_HOME",
                unusable_);
      return;
    }
  }
}

std::optional<HandlerImage> ImageCache::find(const std::string& name) const {
  if (!unusable_.empty()) return {};
  const FileDescriptor file(::openat(folder_.get(), name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  struct stat status {};
  if (!file.valid() || ::fstat(file.get(), &status) != 0 || !S_ISREG(status.st_mode)) return {};
  if (!distrust_of(status).empty() || status.st_size > static_cast<off_t>(kMostBytes)) return {};
  const auto entry = read_descriptor(file.get());
  auto image = entry ? image_of(*entry) : std::nullopt;
  if (image) ::futimens(file.get(), nullptr);  // used now
  return image;
}

void ImageCache::keep(const std::string& name, const HandlerImage& image) const {
  if (!unusable_.empty()) return;
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  const std::string fresh = fmt::format("{}.{}.{}.new", name, ::getpid(), now.tv_sec * 1000000000 + now.tv_nsec);
  const FileDescriptor file(::openat(folder_.get(), fresh.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  const bool made = file.valid() && write_descriptor(file.get(), entry_of(image)) &&
                    ::renameat(folder_.get(), fresh.c_str(), folder_.get(), name.c_str()) == 0;
  if (!made) {
    const int error = errno;
    if (file.valid()) ::unlinkat(folder_.get(), fresh.c_str(), 0);
    log::warn("cannot keep the handler's image in '{}': {}; it is compiled anew each time", path_,
              std::strerror(error));
  }
  shrink();
}

void ImageCache::shrink() const {
  auto entries = entries_in(folder_.get());
  std::uint64_t bytes = 0;
  for (const Entry& e : entries) bytes += e.bytes;
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) { return a.changed < b.changed; });
  const std::int64_t now = std::time(nullptr);
  for (const Entry& e : entries) {
    const bool left_over = e.name.ends_with(".new");  // by one that was killed as it wrote
    if ((bytes <= kMostBytes && !left_over) || std::abs(now - e.changed) < kYoungSeconds) continue;
    if (::unlinkat(folder_.get(), e.name.c_str(), 0) == 0) bytes -= e.bytes;
  }
}

}  // namespace ipcq::compiler
