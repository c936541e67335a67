// Finding: the result of one check of `ipcq doctor`.
#pragma once

#include <string>

namespace ipcq::program {

struct Finding {
  enum class Level : unsigned char { ok, warn, fail };
  Level level = Level::ok;
  std::string subject;
  std::string text;
  std::string remedy;  // empty if nothing needs to be done
};

}  // namespace ipcq::program
