// nearest: which word somebody may have meant.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ipcq::program {

// The candidate that differs least from `text`, in at most a third of its letters.
std::optional<std::string> nearest(std::string_view text, const std::vector<std::string>& candidates);

}  // namespace ipcq::program
