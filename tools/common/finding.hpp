// Finding: one thing that `ipcq doctor` looked at.
#pragma once

#include <string>

namespace ipcq::program {

struct Finding {
  enum class Level : unsigned char { ok, warn, fail };
  Level level = Level::ok;
  std::string subject;
  std::string text;
  std::string remedy;  // empty when nothing is to be done
};

}  // namespace ipcq::program
