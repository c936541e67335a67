// A runner of a test: a shell script, which speaks over descriptor 3 what the test has written into files.
#pragma once

#include <cstddef>
#include <filesystem>
#include <fstream>
#include <ios>
#include <iterator>
#include <string>

#include "broker/runner_link.hpp"
#include "layout/text_field.hpp"
#include "unit/environment.hpp"
#include "unit/temporary_directory.hpp"

namespace ipcq_test {

class ScriptedRunner {
 public:
  explicit ScriptedRunner(bool under_mps = false) {
    ipcq::detail::RunnerHello up;
    up.mps = under_mps ? 1 : 0;
    ipcq::detail::set_text(up.device_name, sizeof up.device_name, "a GPU");
    write("hello", &up, sizeof up);
    const ipcq::detail::RunnerReply yes;
    write("reply", &yes, sizeof yes);
  }

  std::string at(const std::string& file) const { return directory_.at(file); }
  void write(const std::string& file, const void* content, std::size_t bytes) const {
    std::ofstream(at(file), std::ios::binary)
        .write(static_cast<const char*>(content), static_cast<std::streamsize>(bytes));
  }
  std::string read(const std::string& file) const {
    std::ifstream in(at(file), std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  // A program of these lines. `say FILE` sends a file as one message, `hear FILE` writes the next one into a file.
  void script(const std::string& lines) const {
    std::ofstream(at("runner")) << "#!/bin/sh\ncd " << directory_.path()
                                << "\nsay() { dd if=\"$1\" bs=8192 count=1 2>/dev/null >&3; }\n"
                                   "hear() { dd of=\"$1\" bs=8192 count=1 2>/dev/null <&3; test -s \"$1\"; }\n"
                                << lines << "\n";
    std::filesystem::permissions(at("runner"), std::filesystem::perms::owner_all);
  }
  // That comes up and answers with "reply" until it is told to end.
  void good_script() const { script("say hello; while hear request; do say reply; done; echo > over"); }

 private:
  const TemporaryDirectory directory_;
  const Environment runner_{"IPCQ_RUNNER", directory_.at("runner")};
};

}  // namespace ipcq_test
