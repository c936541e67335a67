#include "programs/commands.hpp"

#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include <nlohmann/json.hpp>

namespace ipcq_test {
namespace {

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::string in_quotes(const std::string& text) { return "'" + text + "'"; }

}  // namespace

Command::Command(const std::string& script, const std::string& directory, const std::string& broker,
                 const std::string& name)
    : script_(script), out_(directory + "/" + name + ".out"), err_(directory + "/" + name + ".err") {
  const char* const programs = std::getenv("IPCQ_BIN_DIR");
  EXPECT_NE(programs, nullptr) << "IPCQ_BIN_DIR says where the programs are";
  // The redirections come first, so that those of the script count; and no descriptor is handed down, as ctest does.
  std::string text = "export PATH=" + in_quotes(programs == nullptr ? "" : programs) +
                     ":$PATH XDG_RUNTIME_DIR=" + in_quotes(directory) + " IPCQ_BROKER=" + broker + "; cd " +
                     in_quotes(directory) + "; exec </dev/null >" + in_quotes(out_) +
                     " 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&- 10>&- 2>" + in_quotes(err_) + "\n" + script;
  std::string shell = "/bin/bash";
  std::string flag = "-c";
  char* const arguments[] = {shell.data(), flag.data(), text.data(), nullptr};
  posix_spawnattr_t attributes;
  ::posix_spawnattr_init(&attributes);
  ::posix_spawnattr_setpgroup(&attributes, 0);
  // Where the tests run in the background of a shell, these are ignored, and would be by the programs.
  sigset_t usual;
  ::sigemptyset(&usual);
  for (const int number : {SIGINT, SIGQUIT}) ::sigaddset(&usual, number);
  ::posix_spawnattr_setsigdefault(&attributes, &usual);
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF);
  EXPECT_EQ(::posix_spawn(&pid_, shell.c_str(), nullptr, &attributes, arguments, environ), 0);
  ::posix_spawnattr_destroy(&attributes);
}

Command::~Command() {
  if (pid_ <= 0) return;
  ::kill(-pid_, SIGKILL);
  if (!status_) ::waitpid(pid_, nullptr, 0);
}

bool Command::ended() {
  int status = 0;
  if (!status_ && ::waitpid(pid_, &status, WNOHANG) == pid_) status_ = status;
  return status_.has_value();
}

std::optional<int> Command::exit_code(ipcq::Duration bound) {
  if (!eventually([this] { return ended(); }, bound)) {
    ADD_FAILURE() << script_ << "\ndoes not end; it said:\n" << err();
    return {};
  }
  return WIFEXITED(*status_) ? WEXITSTATUS(*status_) : 128 + WTERMSIG(*status_);
}

void Command::signal(int number) const { EXPECT_EQ(::kill(pid_, number), 0) << script_; }
std::string Command::out() const { return read_file(out_); }
std::string Command::err() const { return read_file(err_); }

ProgramTest::ProgramTest() {
  std::string pattern = std::filesystem::temp_directory_path() / "ipcq-programs.XXXXXX";
  const char* const made = ::mkdtemp(pattern.data());
  EXPECT_NE(made, nullptr);
  directory_ = made == nullptr ? "" : made;
  broker_ = "programs-" + directory_.substr(directory_.rfind('.') + 1);
}

ProgramTest::~ProgramTest() {
  // Brokers end in order: what they leave behind otherwise lies in /dev/shm.
  for (Command& c : commands_) {
    if (!c.ended()) c.signal(SIGTERM);
    static_cast<void>(eventually([&] { return c.ended(); }, 3s));
  }
  commands_.clear();
  std::error_code ignored;
  std::filesystem::remove_all(directory_, ignored);
}

Command& ProgramTest::start(const std::string& script) {
  return commands_.emplace_front(script, directory_, broker_, "command-" + std::to_string(started_++));
}

Command& ProgramTest::run(const std::string& script) {
  Command& command = start(script);
  static_cast<void>(command.exit_code());
  return command;
}

Command& ProgramTest::broker(const std::string& arguments) {
  Command& command = start("exec ipcq-broker --name $IPCQ_BROKER --drain-seconds 0 " + arguments);
  EXPECT_TRUE(eventually([&] { return command.ended() || command.err().find("serving at") != std::string::npos; }));
  EXPECT_FALSE(command.ended()) << command.err();
  return command;
}

std::string ProgramTest::contents(const std::string& name) const { return read_file(path(name)); }
void ProgramTest::write(const std::string& name, const std::string& text) const {
  std::ofstream(path(name), std::ios::binary) << text;
}

long ProgramTest::stat(const std::string& pointer) {
  const auto object = nlohmann::json::parse(run("exec ipcq stats --json").out(), nullptr, false);
  const nlohmann::json::json_pointer where("/" + pointer);
  return object.is_object() && object.contains(where) ? object[where].get<long>() : -1;
}

}  // namespace ipcq_test
