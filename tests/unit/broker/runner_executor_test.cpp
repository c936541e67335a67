// What the executor of a device queue asks of its runner, and when. No GPU is needed: a script stands in for the runner
// and keeps each request that it hears.
#include "broker/runner_executor.hpp"

#include "base/memory_file.hpp"

#include <gmock/gmock.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "broker/scripted_runner.hpp"
#include "errors.hpp"
#include "eventually.hpp"
#include "ipcq/error.hpp"
#include "layout/text_field.hpp"
#include "unit/child.hpp"
#include "unit/device_segments.hpp"

namespace ipcq::detail {
namespace {

using ipcq_test::Child;
using ipcq_test::error_of;
using ipcq_test::eventually;
using testing::HasSubstr;

// The first kind depends on `executor` alone: the handler, the pool and the way to wait concern whoever runs it.
TEST(FirstExecutor, IsTheOneThatWasAskedForElseThePersistentOne) {
  struct Case {
    ExecutorKind asked;
    ExecutorKind first;
  };
  const std::vector<QueueOptions> others = {
      {},
      {.handler = "invert"},
      {.handler = "no-such-handler"},
      {.slots = 0, .handler = "identity"},
      {.pool = "shared", .handler = "invert", .host_readable = false},
      {.handler = "invert", .backend = "host", .threads = 4, .wait = Wait::spin()},
      {.handler = "invert", .backend = "cuda", .device = 3, .mirror = Mirror::none, .wait = Wait::sleep()},
      {.backpressure = Backpressure::drop_oldest, .groups = {}},
  };
  for (const Case c :
       {Case{ExecutorKind::auto_, ExecutorKind::persistent}, Case{ExecutorKind::persistent, ExecutorKind::persistent},
        Case{ExecutorKind::stream, ExecutorKind::stream}}) {
    for (std::size_t i = 0; i < others.size(); ++i) {
      QueueOptions options = others[i];
      options.executor = c.asked;
      EXPECT_EQ(first_executor(options), c.first) << to_string(c.asked) << ", options " << i;
    }
  }
}

class RunnerExecutorTest : public ipcq_test::ScriptedRunner, public testing::Test {
 protected:
  RunnerExecutorTest() {
    RunnerReply reply;
    reply.id = kQueueId;
    write("reply", &reply, sizeof reply);
    script(std::string(kUp) + "while hear request; do cat request >> heard; say reply; done; echo > over");
    pool_.block = kBlock;
    on_device();
  }

  // The queue that is to be executed, with its pool in VRAM or on the host.
  void on_device() { use(std::make_unique<DeviceSegments>(QueueMap::Executed::by_device)); }
  void on_host() {
    use(std::make_unique<Segments>(Segments::small(), QueueMap::Executed::by_device,
                                   PoolOptions{.slots = 4, .size = 256}, nullptr));
  }
  std::unique_ptr<Executor> start(const QueueOptions& options = {}) {
    return start_runner_executor(runner(), options, *queue_, pool_);
  }
  static std::shared_ptr<RunnerLink> runner() { return RunnerLink::get(kDevice, -1); }
  std::vector<RunnerRequest> heard() const {
    const std::string bytes = read("heard");
    EXPECT_EQ(bytes.size() % sizeof(RunnerRequest), 0u);
    std::vector<RunnerRequest> requests(bytes.size() / sizeof(RunnerRequest));
    bytes.copy(reinterpret_cast<char*>(requests.data()), requests.size() * sizeof(RunnerRequest));
    return requests;
  }
  RunnerRequest last_heard() const {
    const std::vector<RunnerRequest> all = heard();
    return all.empty() ? RunnerRequest{} : all.back();
  }
  std::uint64_t announced_kind() const { return queue_->control().executor.load(std::memory_order_relaxed); }
  template <std::size_t N>
  static std::string text(const char (&field)[N]) {
    return get_text(field, N);
  }

  static constexpr int kDevice = 41;
  static constexpr std::uint64_t kBlock = 17;
  static constexpr std::uint64_t kQueueId = 99;
  static constexpr const char* kUp = "say hello; ";
  PoolEntry pool_;
  std::unique_ptr<QueueMap> queue_;

 private:
  template <class S>
  void use(std::unique_ptr<S> segments) {
    queue_ = std::move(segments->queue_owner);
    pool_.map = std::move(segments->pool_owner);
  }
};

TEST_F(RunnerExecutorTest, TheRunnerIsToldWhatToExecuteAndHow) {
  const auto executor = start({.handler = "invert", .executor = ExecutorKind::stream});
  ASSERT_EQ(heard().size(), 1u);
  const RunnerRequest r = last_heard();
  EXPECT_EQ(r.magic, kRunnerMagic);
  EXPECT_EQ(r.abi, kAbiVersion);
  EXPECT_EQ(r.op, RunnerOp::start_queue);
  EXPECT_EQ(r.executor, ExecutorKind::stream);
  EXPECT_EQ(r.id, kBlock) << "the memory in which the payloads are";
  EXPECT_GT(r.park_after_ns, 0u) << "else a kernel without work would never leave the GPU";
  EXPECT_EQ(text(r.queue_segment), queue_->segment().name());
  EXPECT_EQ(text(r.pool_segment), pool_.map->segment().name());
  EXPECT_EQ(text(r.handler), "invert");
}

TEST_F(RunnerExecutorTest, StateIsMadeBeforeTheQueueIsStartedWithIt) {
  const auto state = first_state("queue 'q'", {.state_bytes = 100});
  HandlerImage image;
  image.file = make_memory_file(10, "an image");
  const auto executor =
      start_runner_executor(runner(), {.handler = "x.cu:level=7"}, *queue_, pool_, {&image, state.get(), 33});
  const std::vector<RunnerRequest> all = heard();
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[0].op, RunnerOp::make_state);
  EXPECT_EQ(all[0].bytes, 100u);
  EXPECT_EQ(all[1].op, RunnerOp::start_queue);
  EXPECT_EQ(all[1].state, kQueueId) << "what the runner has answered";
  EXPECT_EQ(all[1].has_image, 1);
  EXPECT_EQ(all[1].first_ticket, 33u);
  EXPECT_EQ(text(all[1].handler), "x.cu");
  EXPECT_EQ(text(all[1].arguments), "level=7");
  EXPECT_EQ(executor->id(), kQueueId);
}

TEST_F(RunnerExecutorTest, APoolOnTheHostHasNoBlockOfTheRunners) {
  on_host();
  const auto executor = start({.handler = "invert"});
  EXPECT_EQ(last_heard().op, RunnerOp::start_queue);
  EXPECT_EQ(last_heard().id, 0u) << "whatever the entry's number says";
  EXPECT_EQ(text(last_heard().pool_segment), pool_.map->segment().name());
}

TEST_F(RunnerExecutorTest, TheHandlerIsNamedInFullAndIsIdentityWithoutAName) {
  const std::string longest(kNameBytes - 1, 'h');
  for (const std::string& handler : {std::string(), std::string("identity"), std::string("checksum"), longest}) {
    const auto executor = start({.handler = handler});
    EXPECT_EQ(text(last_heard().handler), handler.empty() ? "identity" : handler);
  }
}

TEST_F(RunnerExecutorTest, TheKindThatBeginsIsAskedForAndAnnouncedInTheQueue) {
  for (const ExecutorKind asked : {ExecutorKind::stream, ExecutorKind::auto_, ExecutorKind::persistent}) {
    const QueueOptions options{.handler = "invert", .executor = asked};
    const auto executor = start(options);
    EXPECT_EQ(last_heard().executor, first_executor(options)) << to_string(asked);
    EXPECT_EQ(announced_kind(), static_cast<std::uint64_t>(first_executor(options))) << to_string(asked);
  }
}

TEST_F(RunnerExecutorTest, ItsRunnerLivesAsLongAsTheExecutor) {
  auto executor = start();
  EXPECT_EQ(runner().use_count(), 2) << "the executor's and this one";
  EXPECT_EQ(read("over"), "");
  executor.reset();
  EXPECT_EQ(read("over"), "\n");
}

TEST_F(RunnerExecutorTest, ARunnerThatRefusesSaysWhy) {
  RunnerReply no;
  no.failed = 1;
  set_text(no.text, sizeof no.text, "queue 'q': there are no kernels of this handler");
  write("reply", &no, sizeof no);
  const auto link = runner();
  EXPECT_EQ(error_of<BackendError>([&] { (void)start({.handler = "odd"}); }),
            "queue 'q': there are no kernels of this handler");
  EXPECT_EQ(link.use_count(), 1) << "nothing of the failed start keeps the runner";
  EXPECT_EQ(heard().size(), 1u) << "what did not start is not stopped";
  EXPECT_FALSE(link->is_lost());
}

TEST_F(RunnerExecutorTest, ARunnerThatDiesOrAnswersGarbageIsNamedByItsGpu) {
  RunnerReply garbage;
  garbage.magic = 1;
  write("garbage", &garbage, sizeof garbage);
  write("short", &garbage, 8);
  for (const char* const answer : {"exit 1", "kill -9 $$", "say garbage; exec sleep 60", "say short; exec sleep 60"}) {
    script(std::string(kUp) + "hear request; " + answer);
    const auto link = runner();
    EXPECT_THAT(error_of<BackendError>([&] { (void)start(); }),
                HasSubstr("GPU 41: its runner ended while it was asked"))
        << answer;
    EXPECT_EQ(link.use_count(), 1) << answer;
    link->kill();
    EXPECT_TRUE(eventually([&] { return link->is_lost(); })) << answer;
  }
}

TEST_F(RunnerExecutorTest, ARunnerThatHasEndedStartsNothing) {
  const auto link = runner();
  link->kill();
  ASSERT_TRUE(eventually([&] { return link->is_gone(); }));
  EXPECT_THAT(error_of<BackendError>([&] { (void)start_runner_executor(link, {}, *queue_, pool_); }),
              HasSubstr("GPU 41: its runner has ended"));
  EXPECT_EQ(heard().size(), 0u);
}

TEST_F(RunnerExecutorTest, AStopAsksForTheQueueOnce) {
  auto executor = start();
  const auto link = runner();
  executor->stop();
  ASSERT_EQ(heard().size(), 2u);
  EXPECT_EQ(last_heard().op, RunnerOp::stop_queue);
  EXPECT_EQ(last_heard().id, kQueueId) << "the number that the runner gave it";
  executor->stop();
  EXPECT_EQ(heard().size(), 2u);
  executor.reset();
  EXPECT_EQ(heard().size(), 2u) << "the destructor has nothing left to stop";
  EXPECT_EQ(link.use_count(), 1);
}

TEST_F(RunnerExecutorTest, ItsDestructorStopsIt) {
  const auto link = runner();
  start().reset();
  ASSERT_EQ(heard().size(), 2u);
  EXPECT_EQ(last_heard().op, RunnerOp::stop_queue);
  EXPECT_EQ(last_heard().id, kQueueId);
}

TEST_F(RunnerExecutorTest, AStopThatTheRunnerRefusesIsNotRepeated) {
  auto executor = start();
  RunnerReply no;
  no.failed = 1;
  write("reply", &no, sizeof no);
  executor->stop();
  executor->stop();
  EXPECT_EQ(heard().size(), 2u);
}

TEST_F(RunnerExecutorTest, AStopWithoutARunnerReturns) {
  auto executor = start();
  const auto link = runner();
  link->kill();
  ASSERT_TRUE(eventually([&] { return link->is_gone(); }));
  executor->stop();
  executor.reset();
  EXPECT_EQ(heard().size(), 1u);
}

// An executor waits for the payload of a message before it processes it, so it would not end while one is missing.
TEST_F(RunnerExecutorTest, AStopBuriesWhatWasNotWrittenBeforeItAsks) {
  DeviceSegments words(QueueMap::Executed::by_device);
  const SlotLoan late = words.send_late(5, 0);
  const SlotLoan written = words.send_late(5, 1);
  words.write(written);
  queue_ = std::move(words.queue_owner);
  pool_.map = std::move(words.pool_owner);
  script(std::string(kUp) +
         "hear request; cat request >> heard; say reply; "
         "hear request; while ! test -e go; do sleep 0.01; done; cat request >> heard; say reply; hear request");
  const auto executor = start();
  const auto is_buried = [&](const SlotLoan& loan) {
    return pool_.map->tomb(loan.slot).load(std::memory_order_acquire) == loan.lease;
  };
  EXPECT_FALSE(is_buried(late));
  std::thread stops([&] { executor->stop(); });
  EXPECT_TRUE(eventually([&] { return is_buried(late); }, ipcq_test::kPrompt));
  EXPECT_EQ(heard().size(), 1u) << "the runner has not answered";
  write("go", "", 0);
  stops.join();
  EXPECT_EQ(last_heard().op, RunnerOp::stop_queue);
  EXPECT_EQ(pool_.map->gpub(late.slot).load(std::memory_order_acquire), late.lease) << "nobody waits for it any more";
  EXPECT_FALSE(is_buried(written));
}

TEST_F(RunnerExecutorTest, AForkedChildStopsNothing) {
  DeviceSegments words(QueueMap::Executed::by_device);
  const SlotLoan late = words.send_late(5, 0);
  queue_ = std::move(words.queue_owner);
  pool_.map = std::move(words.pool_owner);
  auto executor = start();
  const auto link = runner();
  Child child([&] {
    executor->stop();
    executor.reset();
  });
  EXPECT_EQ(child.exit_code(), 0);
  EXPECT_EQ(heard().size(), 1u);
  EXPECT_LT(pool_.map->tomb(late.slot).load(std::memory_order_acquire), late.lease) << "its producer may write it yet";
  EXPECT_FALSE(link->is_lost());
  executor->stop();
  EXPECT_EQ(last_heard().op, RunnerOp::stop_queue) << "the parent's stop is its first";
}

}  // namespace
}  // namespace ipcq::detail
