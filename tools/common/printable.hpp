// Text of a user or a peer, as a terminal may get it: in a name or a path may stand what clears the screen, or a line
// that the program has not said.
#pragma once

#include <string>
#include <string_view>

namespace ipcq::program {

// Control characters as \xNN, but for those in `kept`.
std::string printable(std::string_view text, std::string_view kept = {});

}  // namespace ipcq::program
