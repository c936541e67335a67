// Log lines in upper case, without those below a level. A line's level is the highest that it names, however spelt.
#include <ipcq/handler.hpp>

struct LogFilter {
  static constexpr auto sharing = ipcq::Sharing::thread;  // lines are many and short: a lane has a whole one

  int level = 2;  // the least that passes: 3 ERROR, 2 WARN, 1 INFO, 0 also lines that name none

  template <class Team>
  IPCQ_HOST_DEVICE void operator()(ipcq::HandlerMessage& m, Team) const {
    const auto line = m.elements<char>();
    for (std::uint64_t i = 0; i < line.size(); ++i) {
      if (line[i] >= 'a' && line[i] <= 'z') line[i] = static_cast<char>(line[i] - 'a' + 'A');
    }
    if (level_of(line) < level) m.drop();
  }

 private:
  IPCQ_HOST_DEVICE static int level_of(const ipcq::Elements<char>& line) {
    return names(line, "ERROR") ? 3 : names(line, "WARN") ? 2 : names(line, "INFO") ? 1 : 0;
  }
  template <unsigned Size>
  IPCQ_HOST_DEVICE static bool names(const ipcq::Elements<char>& line, const char (&word)[Size]) {
    constexpr unsigned kLetters = Size - 1;
    for (std::uint64_t at = 0; at + kLetters <= line.size(); ++at) {
      unsigned same = 0;
      while (same < kLetters && line[at + same] == word[same]) ++same;
      if (same == kLetters) return true;
    }
    return false;
  }
};
IPCQ_HANDLER(LogFilter, level)
