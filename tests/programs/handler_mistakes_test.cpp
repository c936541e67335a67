// What ipcq handler check says of the mistakes that authors of handlers make, in words, by NVRTC and by the host's
// compiler: what one of them would take, and the other not, is a mistake for both.
#include <filesystem>

#include "programs/commands.hpp"
#include "programs/handler_text.hpp"

namespace ipcq_test {
namespace {

using testing::AllOf;
using testing::HasSubstr;

class HandlerMistakesTest : public ProgramTest {
 protected:
  void expect_refused(const std::string& text, const std::string& message) {
    write("lacks.cu", "#include <ipcq/handler.hpp>\n" + text);
    for (const char* const where : {"--arch sm_90", "--backend host"}) {
      Command& command = run("exec ipcq handler check lacks.cu " + std::string(where));
      EXPECT_EQ(command.exit_code(), 1) << where << "\n" << text;
      EXPECT_THAT(command.err(), HasSubstr(message)) << where << "\n" << text;
    }
  }
  // Of a type with these members.
  void expect_members_refused(const std::string& members, const std::string& message,
                              const std::string& parameters = "") {
    expect_refused("struct Mine {\n" + members + "};\nIPCQ_HANDLER(Mine" + parameters + ")\n", message);
  }
  // Of one whose call for a message has this body.
  void expect_body_refused(const std::string& body, const std::string& message, const std::string& members = "") {
    expect_members_refused(members +
                               "  template <class Team>\n  IPCQ_HOST_DEVICE void operator()(ipcq::HandlerMessage& m, "
                               "Team team) const { " +
                               body + " }\n",
                           message);
  }

  const std::string accepts_ = "  static constexpr bool accepts(std::uint64_t) { return true; }\n";
  const std::string call_ =
      "  template <class Team> IPCQ_HOST_DEVICE void operator()(std::byte*, std::uint64_t, Team) const {}\n";
};

TEST_F(HandlerMistakesTest, WhatAHandlerLacks) {
  expect_refused("struct Mine {\n" + accepts_ + call_ + "};\n", "names no handler: IPCQ_HANDLER(Type) is missing");
  expect_members_refused("  static bool accepts(const char*) { return true; }\n" + call_,
                         "the handler's accepts is public, and either static constexpr or const");
  expect_members_refused("  static constexpr unsigned scratch_bytes = 20000;\n" + call_,
                         "scratch_bytes are 16384 at most");
  expect_members_refused(accepts_, "the handler needs, public: template <class Team>");
  expect_members_refused(" private:\n" + call_, "the handler needs, public: template <class Team>");
  expect_members_refused("  Mine(int) {}\n" + accepts_ + call_, "a constructor without arguments");
  expect_members_refused("  ~Mine() {}\n" + accepts_ + call_, "a handler is plain data");
  expect_members_refused("  const char* name = nullptr;\n" + accepts_ + call_, "a handler's parameter is a bool",
                         ", name");
  expect_refused("#include <ipcq/handler.h>\nstruct Mine {\n" + accepts_ + call_ + "};\nIPCQ_HANDLER(Mine)\n" +
                     "IPCQ_C_HANDLER int ipcq_handle(void*, uint64_t, const struct ipcq_context*) { return 0; }\n",
                 "the file has two handlers");
}

TEST_F(HandlerMistakesTest, WhatWouldHaveNoEffect) {
  expect_members_refused(
      "  template <class Team>\n  IPCQ_HOST_DEVICE void operator()(ipcq::HandlerMessage m, Team) const { "
      "m.resize(0); }\n",
      "(ipcq::HandlerMessage& message, Team team), by reference");
  expect_members_refused("  ipcq::Sharing sharing = ipcq::Sharing::block;\n" + call_,
                         "the handler's sharing, scratch_bytes, heavy and concurrent are static constexpr");
  expect_members_refused("  bool heavy = true;\n" + call_, "are static constexpr");
}

TEST_F(HandlerMistakesTest, WhatATeamDoesNotHave) {
  const std::string block = "  static constexpr auto sharing = ipcq::Sharing::block;\n";
  expect_body_refused("team.sync(); m.drop();", "team.sync() is for lanes that can wait for each other");
  expect_body_refused("*team.scratch() = *m.data;", "team.scratch() is for a handler that declares how much it has");
  expect_body_refused("*team.scratch() = *m.data;", "team.scratch() is for a handler that declares how much it has",
                      block);
}

TEST_F(HandlerMistakesTest, AStateByReference) {
  expect_members_refused(
      "  template <class Team>\n  IPCQ_HOST_DEVICE void operator()(ipcq::HandlerMessage&, Team, "
      "ipcq::State&) const {}\n",
      "with state, a parameter ipcq::State behind the team");
}

TEST_F(HandlerMistakesTest, WhatIsNotThere) {
  write("needs.cu", "#include <vector>\n");
  EXPECT_THAT(run("exec ipcq handler check needs.cu --arch sm_90").err(),
              AllOf(HasSubstr("cannot open source file \"vector\""), HasSubstr("ipcq_add_handler()")));
  write("good.cu", handler_text("    (void)data, (void)length, (void)team;", ""));
  Command& with_parameters = run("exec ipcq handler check good.cu:level=3 --arch sm_90");
  EXPECT_EQ(with_parameters.exit_code(), 3);
  EXPECT_THAT(with_parameters.err(), HasSubstr("name the file alone, 'good.cu'"));
  Command& folder = run("exec ipcq handler check good.cu --arch sm_90 -I none");
  EXPECT_EQ(folder.exit_code(), 2);
  EXPECT_THAT(folder.err(), HasSubstr("include: 'none' is no folder"));
}

}  // namespace
}  // namespace ipcq_test
