// The broker's side of a runner, against scripts that begin, answer and end in every way that a runner can, and against
// the stand-in of tests/stand_in_runner.
#include "broker/runner_link.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <thread>

#include "broker/scripted_runner.hpp"
#include "errors.hpp"
#include "eventually.hpp"
#include "layout/text_field.hpp"
#include "unit/environment.hpp"

namespace ipcq::detail {
namespace {

namespace fs = std::filesystem;
using ipcq_test::Environment;
using ipcq_test::error_of;
using ipcq_test::eventually;
using testing::AllOf;
using testing::HasSubstr;

bool is_readable(const Fd& fd) {
  pollfd p{fd.get(), POLLIN, 0};
  return ::poll(&p, 1, 0) == 1;
}

class RunnerLinkTest : public ipcq_test::ScriptedRunner, public testing::Test {
 protected:
  static std::shared_ptr<RunnerLink> get(int device = 7, int cancel = -1) { return RunnerLink::get(device, cancel); }
  static std::string error() {
    return error_of<BackendError>([] { (void)get(); });
  }
};

TEST_F(RunnerLinkTest, TheProgramThatWasNamedIsTakenUnseen) {
  EXPECT_EQ(RunnerLink::find_program(0), at("runner"));
  EXPECT_FALSE(fs::exists(at("runner")));
}

TEST_F(RunnerLinkTest, ElseItIsLookedForBesideTheProgramAndThenInPath) {
  const Environment none("IPCQ_RUNNER", "");
  const std::string here = fs::read_symlink("/proc/self/exe").parent_path().string();
  for (const std::string& place : {here + "/ipcq-runner", here + "/../bin/ipcq-runner"}) {
    if (fs::exists(place)) GTEST_SKIP() << "there is one beside this program: " << place;
  }
  fs::create_directories(at("first"));
  fs::create_directories(at("second"));
  const Environment path("PATH", at("first") + "::" + at("second"));
  EXPECT_EQ(RunnerLink::find_program(0), "");
  EXPECT_THAT(error(), AllOf(HasSubstr("GPU 7: there is no ipcq-runner"), HasSubstr("backend=host")));
  std::ofstream(at("first/ipcq-runner")) << "no program";
  std::ofstream(at("second/ipcq-runner")) << "";
  fs::permissions(at("second/ipcq-runner"), fs::perms::owner_all);
  EXPECT_EQ(RunnerLink::find_program(0), at("second/ipcq-runner"));
}

TEST_F(RunnerLinkTest, OneThatIsStartedIsNobodyElses) {
  good_script();
  const auto own = RunnerLink::start(7, -1);
  const auto shared = get();
  EXPECT_NE(shared, own);
  EXPECT_NE(shared->pid(), own->pid());
  EXPECT_EQ(get(), shared);
  EXPECT_NE(RunnerLink::start(7, -1), own);
  own->hang_up();
  EXPECT_TRUE(own->is_lost());
  EXPECT_TRUE(eventually([&] { return own->is_gone(); }));
  EXPECT_EQ(own->how_it_ended(), "ended with exit code 0");
  EXPECT_FALSE(shared->is_lost());
}

TEST_F(RunnerLinkTest, WhatCannotBeRunIsNamedWithTheReason) {
  EXPECT_THAT(error(), AllOf(HasSubstr("IPCQ_RUNNER is '" + at("runner")), HasSubstr("No such file")));
  std::ofstream(at("runner")) << "text";
  EXPECT_THAT(error(), HasSubstr("Permission denied"));
  fs::permissions(at("runner"), fs::perms::owner_all);
  EXPECT_THAT(error_of<SystemError>([] { (void)get(); }),
              AllOf(HasSubstr(at("runner")), HasSubstr("posix_spawn failed"), HasSubstr("no program of this machine")));
}

TEST_F(RunnerLinkTest, OneThatEndsOrSpeaksAnotherLanguageAtItsStartIsToldSo) {
  RunnerHello other;
  other.abi = kAbiVersion + 1;
  write("other", &other, sizeof other);
  other = {};
  other.magic = 1;
  write("garbage", &other, sizeof other);
  write("short", &other, 8);
  for (const char* const lines :
       {"exit 3", "kill -9 $$", "say other; exec sleep 60", "say garbage; exec sleep 60", "say short; exec sleep 60"}) {
    script(lines);
    EXPECT_THAT(error(), AllOf(HasSubstr("GPU 7"), HasSubstr("another release"), HasSubstr(at("runner")))) << lines;
  }
}

TEST_F(RunnerLinkTest, WhatItSaysOfItsFailureIsPassedOn) {
  RunnerHello failed;
  failed.start = RunnerStart::failed;
  set_text(failed.text, sizeof failed.text, "there is no such GPU");
  write("hello", &failed, sizeof failed);
  script("say hello");
  EXPECT_EQ(error(), "there is no such GPU");
}

class RunnerNotYet : public RunnerLinkTest {
 protected:
  RunnerNotYet() {
    RunnerHello later;
    later.start = RunnerStart::not_yet;
    set_text(later.text, sizeof later.text, "not yet");
    write("later", &later, sizeof later);
  }
};

TEST_F(RunnerNotYet, AnotherIsStartedUntilOneIsLetIn) {
  script("echo >> starts; test $(wc -l < starts) -lt 3 && { say later; exit 1; }; say hello; hear request");
  const auto link = get();
  EXPECT_EQ(link->device_name(), "a GPU");
  EXPECT_EQ(read("starts"), "\n\n\n");
}

TEST_F(RunnerNotYet, ACancelEndsTheTries) {
  script("echo >> starts; say later");
  const Fd cancel = make_eventfd();
  signal_eventfd(cancel.get());
  const std::string text = error_of<BackendError>([&] { (void)get(7, cancel.get()); });
  EXPECT_THAT(text, testing::AnyOf("not yet", HasSubstr("given up")));  // whichever is seen first
  EXPECT_THAT(read("starts"), testing::AnyOf("", "\n"));
}

TEST_F(RunnerNotYet, IsSaidAtLast) {
  script("echo >> starts; say later");
  EXPECT_EQ(error_of<NotYet>([] { (void)get(); }), "not yet");
  EXPECT_GT(read("starts").size(), 2u);
}

TEST_F(RunnerLinkTest, ACancelGivesItsStartUpAndEndsIt) {
  script("echo $$ > pid; exec sleep 60");
  const Fd cancel = make_eventfd();
  std::thread stops([&] {
    EXPECT_TRUE(eventually([&] { return !read("pid").empty(); }));
    signal_eventfd(cancel.get());
  });
  EXPECT_THAT(error_of<BackendError>([&] { (void)get(7, cancel.get()); }),
              AllOf(HasSubstr("GPU 7"), HasSubstr("given up, since the broker stops")));
  stops.join();
  EXPECT_NE(::kill(std::stoi(read("pid")), 0), 0);
  EXPECT_EQ(errno, ESRCH);
}

TEST_F(RunnerLinkTest, IsOneForEachDeviceWhileAnybodyHasIt) {
  good_script();
  const auto link = get();
  EXPECT_EQ(get(), link);
  const auto other = get(8);
  EXPECT_NE(other, link);
  EXPECT_FALSE(link->is_lost());
  EXPECT_FALSE(link->is_gone());
  EXPECT_FALSE(link->has_mps());
  link->kill();
  EXPECT_TRUE(eventually([&] { return link->is_gone(); }));
  const auto next = get();
  EXPECT_NE(next, link);
  EXPECT_NE(next->pid(), link->pid());
}

TEST_F(RunnerLinkTest, IsAskedAndAnswers) {
  RunnerReply reply;
  reply.id = 99;
  write("reply", &reply, sizeof reply);
  good_script();
  const auto link = get();
  RunnerRequest r;
  r.op = RunnerOp::start_queue;
  set_text(r.handler, sizeof r.handler, "invert");
  EXPECT_EQ(link->request(r).id, 99u);
  EXPECT_EQ(link->request({}).id, 99u);
  reply.failed = 1;
  set_text(reply.text, sizeof reply.text, "no memory left");
  write("reply", &reply, sizeof reply);
  EXPECT_EQ(error_of<BackendError>([&] { (void)link->request({}); }), "no memory left");
}

TEST_F(RunnerLinkTest, TheRequestArrivesAsItWasMade) {
  script("say hello; hear request; cp request heard; say reply; hear request");
  const auto link = get();
  RunnerRequest r;
  r.op = RunnerOp::start_queue;
  r.bytes = 12345;
  (void)link->request(r);
  RunnerRequest heard;
  const std::string bytes = read("heard");
  ASSERT_EQ(bytes.size(), sizeof heard);
  bytes.copy(reinterpret_cast<char*>(&heard), sizeof heard);
  EXPECT_EQ(heard.magic, kRunnerMagic);
  EXPECT_EQ(heard.abi, kAbiVersion);
  EXPECT_EQ(heard.op, RunnerOp::start_queue);
  EXPECT_EQ(heard.bytes, 12345u);
}

TEST_F(RunnerLinkTest, AnAnswerThatIsNoneIsItsEnd) {
  RunnerReply garbage;
  garbage.magic = 1;
  write("garbage", &garbage, sizeof garbage);
  write("short", &garbage, 8);
  int device = 20;
  for (const char* const answer : {"say garbage; exec sleep 60", "say short; exec sleep 60", "exit 1"}) {
    script(std::string("say hello; hear request; ") + answer);
    const auto link = get(++device);
    EXPECT_THAT(error_of<BackendError>([&] { (void)link->request({}); }),
                AllOf(HasSubstr("GPU " + std::to_string(device)), HasSubstr("ended while it was asked")))
        << answer;
    link->kill();
  }
}

TEST_F(RunnerLinkTest, OneThatHasEndedIsNotAsked) {
  script("say hello; hear request; exit 0");
  const auto link = get();
  link->kill();
  EXPECT_TRUE(eventually([&] { return link->is_lost(); }));
  EXPECT_THAT(error_of<BackendError>([&] { (void)link->request({}); }), HasSubstr("GPU 7: its runner has ended"));
}

TEST_F(RunnerLinkTest, ItsEndIsToldByTheSocketAndByTheProcess) {
  script("say hello; test -e go || hear request; exec 3>&-; while ! test -e go; do sleep 0.01; done; exit 5");
  const auto link = get();
  const Fd answers = link->hang_up_fd();
  const Fd process = link->process_fd();
  EXPECT_FALSE(is_readable(answers));
  EXPECT_FALSE(is_readable(process));
  EXPECT_THROW((void)link->request({}), BackendError);  // it closes the socket, and goes on
  EXPECT_TRUE(is_readable(answers));
  EXPECT_TRUE(link->is_lost());
  EXPECT_FALSE(is_readable(process));
  EXPECT_FALSE(link->is_gone());
  write("go", "", 0);
  EXPECT_TRUE(eventually([&] { return is_readable(process); }));
  EXPECT_TRUE(link->is_gone());
  EXPECT_EQ(link->how_it_ended(), "ended with exit code 5");
  EXPECT_EQ(link->how_it_ended(), "ended with exit code 5");  // though its status is taken
}

TEST_F(RunnerLinkTest, HowItEndedIsSaidAsFarAsItIsKnown) {
  good_script();
  const auto killed = get(1);
  killed->kill();
  EXPECT_TRUE(eventually([&] { return killed->is_gone(); }));
  EXPECT_EQ(killed->how_it_ended(), "killed by signal 9");
  const auto taken = get(2);
  taken->kill();
  ASSERT_EQ(::waitpid(taken->pid(), nullptr, 0), taken->pid());  // by the program, for whatever reason
  EXPECT_EQ(taken->how_it_ended(), "gone");
}

TEST_F(RunnerLinkTest, EndsWithWhoHasItLast) {
  good_script();
  auto link = get();
  auto other = link;
  const pid_t pid = link->pid();
  link.reset();
  EXPECT_FALSE(other->is_lost());
  other.reset();
  EXPECT_EQ(read("over"), "\n");  // it was told, not killed
  EXPECT_NE(::kill(pid, 0), 0);   // and its status is taken
  EXPECT_EQ(errno, ESRCH);
}

TEST_F(RunnerLinkTest, HasNothingOfTheBrokersButItsSocket) {
  script(
      "echo \"$@\" > arguments; cut -d' ' -f5 /proc/$$/stat > group; echo $$ > pid; grep SigBlk /proc/self/status > "
      "blocked; "
      "grep SigIgn /proc/self/status > ignored; test -e /proc/$$/fd/57 && echo open > descriptor; say hello; hear "
      "request");
  const Fd open(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  const Fd inherited(::dup2(open.get(), 57));
  ASSERT_EQ(inherited.get(), 57);
  struct sigaction ignore {};
  ignore.sa_handler = SIG_IGN;
  struct sigaction before {};
  ::sigaction(SIGPIPE, &ignore, &before);
  sigset_t all;
  sigset_t unblocked;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &unblocked);
  const auto link = get();
  ::pthread_sigmask(SIG_SETMASK, &unblocked, nullptr);
  ::sigaction(SIGPIPE, &before, nullptr);
  EXPECT_EQ(read("arguments"), "--device 7\n");
  EXPECT_EQ(read("group"), read("pid"));
  EXPECT_EQ(read("descriptor"), "");
  EXPECT_EQ(read("blocked"), "SigBlk:\t0000000000000000\n");
  const auto ignored = std::stoull(read("ignored").substr(std::string("SigIgn:\t").size()), nullptr, 16);
  EXPECT_EQ(ignored >> (SIGPIPE - 1) & 1, 0u);
}

TEST_F(RunnerLinkTest, WorksWithTheStandIn) {
  const Environment stand_in("IPCQ_RUNNER",
                             fs::read_symlink("/proc/self/exe").parent_path().string() + "/stand-in/ipcq-runner");
  const auto link = get();
  EXPECT_EQ(link->device_name(), "stand-in");
  RunnerRequest r;
  r.bytes = 4096;
  const RunnerReply reply = link->request(r);
  EXPECT_EQ(reply.id, 1u);
  EXPECT_EQ(reply.memory.bytes, 4096u);
  r.op = RunnerOp::start_queue;
  set_text(r.queue_segment, sizeof r.queue_segment, "ipcq-none");
  EXPECT_THAT(error_of<BackendError>([&] { (void)link->request(r); }), HasSubstr("ipcq-none"));
  EXPECT_FALSE(link->is_lost());
}

}  // namespace
}  // namespace ipcq::detail
