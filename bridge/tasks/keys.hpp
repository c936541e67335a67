// The names of the keys that belong to a source of tasks.
#pragma once

#include <string>

namespace ipcq::bridge {

inline std::string dead_key(const std::string& source) { return source + ":dead"; }
inline std::string delayed_key(const std::string& source) { return source + ":delayed"; }
inline std::string taken_key(const std::string& source, const std::string& consumer) {
  return source + ":taken:" + consumer;
}
inline std::string consumers_key(const std::string& source) { return source + ":consumers"; }
inline std::string wake_channel(const std::string& source) { return source + ":wake"; }

}  // namespace ipcq::bridge
