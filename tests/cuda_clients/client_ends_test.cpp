// What streams wait for never keeps them for ever: ends, closes and deaths, as clients with a GPU see them.
#include <sys/wait.h>

#include <ctime>
#include <fstream>

#include "cuda_clients/client_fixture.hpp"

namespace ipcq_test {
namespace {

// Of shared memory, in this process.
std::size_t mapped_segments() {
  std::size_t count = 0;
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) count += line.find("/dev/shm/") != std::string::npos ? 1 : 0;
  return count;
}

class CudaClientEnds : public CudaClient {};
INSTANTIATE_TEST_SUITE_P(, CudaClientEnds, testing::ValuesIn(kKinds), kind_name);
class CudaClientEndsAnyKind : public CudaClient {};
INSTANTIATE_TEST_SUITE_P(, CudaClientEndsAnyKind, testing::Values(kKinds[3]), kind_name);

TEST_P(CudaClientEnds, TheEndOfTheStreamEndsWaits) {
  START_OR_SKIP(GetParam(), 2);
  auto c = consumer();
  CUstream in = gpu_->stream();
  for (unsigned n = 0; n < 2; ++n) {
    auto m = check_ahead(c, in, n);
    ASSERT_TRUE(m) << to_string(m.status());
  }
  {
    auto p = producer();
    CUstream out = gpu_->stream();
    ASSERT_EQ(publish(p, out, 0), Status::ok);
  }
  ASSERT_TRUE(finish(in));
  EXPECT_EQ(status(0), Status::ok);
  EXPECT_EQ(status(1), Status::end);
  EXPECT_EQ(findings_->wrong_bytes, 0u);
}

TEST_P(CudaClientEnds, InterruptEndsWaits) {
  START_OR_SKIP(GetParam(), 2);
  auto c = consumer();
  CUstream in = gpu_->stream();
  auto m = check_ahead(c, in, 0);
  ASSERT_TRUE(m) << to_string(m.status());
  session_->interrupt();
  EXPECT_TRUE(finish(in));
  EXPECT_EQ(status(0), Status::interrupted);
  EXPECT_EQ(cuda::receive(c, in, kBound).status(), Status::interrupted);
  session_->resume();
}

TEST_P(CudaClientEnds, TheQueuesCloseEndsWaits) {
  START_OR_SKIP(GetParam(), 2);
  auto c = consumer();
  CUstream in = gpu_->stream();
  auto m = check_ahead(c, in, 0);
  ASSERT_TRUE(m) << to_string(m.status());
  broker_->stop();
  EXPECT_TRUE(finish(in));
  EXPECT_THAT(status(0), testing::AnyOf(Status::closed, Status::peer_dead));
}

TEST_P(CudaClientEnds, TheConsumersCloseEndsWaits) {
  START_OR_SKIP(GetParam(), 2);
  auto c = consumer();
  CUstream in = gpu_->stream();
  auto m = check_ahead(c, in, 0);
  ASSERT_TRUE(m) << to_string(m.status());
  c.close();
  EXPECT_TRUE(finish(in));
  EXPECT_EQ(status(0), Status::closed);
  EXPECT_EQ(m->length(), 0u);
}

TEST_P(CudaClientEnds, TheBrokersDeathEndsWaits) {
  START_OR_SKIP(GetParam(), 1);  // whether this machine can at all
  start_process_like(GetParam());
  {
    auto c = consumer();
    auto p = producer();
    CUstream out = gpu_->stream();
    CUstream in = gpu_->stream();
    CUstream ahead = gpu_->stream();
    // Published, and never complete before the broker dies.
    std::uint32_t* const held_up = gate();
    auto v = cuda::loan(p, out, kBound);
    ASSERT_TRUE(v) << to_string(v.status());
    wait_for(out, held_up);
    gpu_->fill(out, v->device(), kBytes, 0);
    ASSERT_EQ(v->publish(kBytes, kBound), Status::ok);
    auto m = cuda::receive(c, in, kBound);
    ASSERT_TRUE(m) << to_string(m.status());
    gpu_->check_header(in, m->header(), 0, GetParam().mask, 0, findings_);
    auto next = check_ahead(c, ahead, 1);
    ASSERT_TRUE(next) << to_string(next.status());
    std::this_thread::sleep_for(kMoment);
    EXPECT_FALSE(is_done(in));
    EXPECT_FALSE(is_done(ahead));
    kill_broker();
    EXPECT_TRUE(finish(in));
    EXPECT_TRUE(finish(ahead));
    EXPECT_EQ(status(0), Status::peer_dead);
    EXPECT_EQ(status(1), Status::peer_dead);
    gpu_->check_payload(in, m->payload(), 0, GetParam().mask, 2, findings_);
    EXPECT_TRUE(finish(in));
    EXPECT_EQ(status(2), Status::peer_dead);
    EXPECT_EQ(m->status(), Status::peer_dead);
    EXPECT_EQ(next->status(), Status::peer_dead);
    EXPECT_FALSE(cuda::receive_ahead(c, ahead));
    open(held_up);
    EXPECT_TRUE(finish(out));
  }
  session_.reset();
}

// Their consumer and its session are gone by then.
TEST_P(CudaClientEnds, TheBrokersDeathEndsWaitsThatAClosedConsumerLeft) {
  START_OR_SKIP(GetParam(), 1);  // whether this machine can at all
  start_process_like(GetParam());
  {
    auto p = producer();
    CUstream out = gpu_->stream();
    CUstream in = gpu_->stream();
    std::uint32_t* const held_up = gate();
    auto other = std::make_unique<Session>(connect({.broker = name_, .wait_for = kBound, .log = log()}));
    auto c = other->consumer("q", {.wait_for = kBound, .cuda = true});
    auto v = cuda::loan(p, out, kBound);
    ASSERT_TRUE(v) << to_string(v.status());
    wait_for(out, held_up);
    ASSERT_EQ(v->publish(kBytes, kBound), Status::ok);
    auto m = cuda::receive(c, in, kBound);
    ASSERT_TRUE(m) << to_string(m.status());
    gpu_->check_header(in, m->header(), 0, GetParam().mask, 0, findings_);
    c.close();
    *m = {};
    other.reset();
    std::this_thread::sleep_for(kMoment);
    EXPECT_FALSE(is_done(in));
    kill_broker();
    EXPECT_TRUE(finish(in));
    EXPECT_EQ(status(0), Status::peer_dead);
    open(held_up);
    EXPECT_TRUE(finish(out));
  }
  session_.reset();
}

// An entry comes free only by the caller, who may be waiting for the stream.
TEST_P(CudaClientEndsAnyKind, TheQueuesCloseEndsWaitsOfAConsumerThatHoldsAllItMay) {
  START_OR_SKIP(GetParam(), 80);
  auto p = producer(false);
  std::vector<Message> held;
  for (unsigned n = 0; n < 64; ++n) ASSERT_EQ(p.send("x", 1, kBound), Status::ok);
  auto d = session_->consumer("q", {.until = Until::forever, .wait_for = kBound, .cuda = true});
  for (unsigned n = 0; n < 64; ++n) {
    auto m = d.receive(kBound);
    ASSERT_TRUE(m) << to_string(m.status());
    held.push_back(std::move(*m));
  }
  EXPECT_EQ(d.receive(kMoment).status(), Status::full);
  CUstream in = gpu_->stream();
  auto m = check_ahead(d, in, 0);
  ASSERT_TRUE(m) << to_string(m.status());
  const clock_t before = std::clock();
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  EXPECT_LT(std::clock() - before, CLOCKS_PER_SEC / 4) << "it spins";
  EXPECT_FALSE(is_done(in));
  broker_->stop();
  EXPECT_TRUE(finish(in));
  EXPECT_THAT(status(0), testing::AnyOf(Status::closed, Status::peer_dead));
}

// A stream takes some thousand operations; the call after that returns when the stream moves, which takes the message
// that an earlier entry waits for.
TEST_P(CudaClientEndsAnyKind, ReceivesAheadOnAFullStreamAreResolved) {
  constexpr unsigned kAhead = 60;
  const Watchdog watchdog(kBound, [] { return "a call waits for a stream that waits for it\n"; });
  START_OR_SKIP(GetParam(), 2);
  auto p = producer(false);
  auto c = consumer();
  CUstream in = gpu_->stream();
  auto first = cuda::receive_ahead(c, in);
  ASSERT_TRUE(first) << to_string(first.status());
  fill_up(in);
  std::thread sender([&] {
    std::this_thread::sleep_for(kMoment);
    for (unsigned n = 0; n <= kAhead; ++n) EXPECT_EQ(p.send("x", 1, kBound), Status::ok);
  });
  unsigned taken = 0;
  for (; taken < kAhead; ++taken) {
    if (!cuda::receive_ahead(c, in)) break;
  }
  sender.join();
  EXPECT_EQ(taken, kAhead);
  EXPECT_TRUE(finish(in));
  EXPECT_TRUE(first->resolved());
}

// A child has no poll thread: what its parent waits for ahead never comes there.
TEST_P(CudaClientEndsAnyKind, AForkedChildDoesNotWait) {
  START_OR_SKIP(GetParam(), 2);
  auto c = consumer();
  CUstream in = gpu_->stream();
  auto m = cuda::receive_ahead(c, in);
  ASSERT_TRUE(m);
  const pid_t child = fork();
  ASSERT_NE(child, -1);
  if (child == 0) {
    alarm(20);
    Message batch[2];
    const bool good =
        c.receive(kForever).status() == Status::closed && c.receive_many(batch, kForever).status == Status::closed;
    _exit(good ? 0 : 1);
  }
  int end = 0;
  ASSERT_TRUE(eventually([&] { return ::waitpid(child, &end, WNOHANG) == child; })) << ::kill(child, SIGKILL);
  EXPECT_TRUE(WIFEXITED(end) && WEXITSTATUS(end) == 0) << end;
  c.close();
  EXPECT_TRUE(finish(in));
}

// Readers on the CPU take the payload as soon as they see the line, so publishing waits for the stream: in bounds.
TEST_P(CudaClientEndsAnyKind, PublishingIntoHostMemoryTimesOut) {
  START_OR_SKIP(GetParam(), 1);
  broker_->create("host", {.slots = 2, .size = kBytes, .backend = "host"});
  auto p = session_->producer("host", {.wait_for = kBound, .cuda = true});
  auto c = session_->consumer("host", {.wait_for = kBound});
  CUstream out = gpu_->stream();
  auto v = cuda::loan(p, out, kBound);
  ASSERT_TRUE(v) << to_string(v.status());
  std::uint32_t* const held_up = hold_up(out);
  gpu_->fill(out, v->device(), kBytes, 5);
  EXPECT_EQ(v->publish(kBytes, kMoment), Status::timeout);
  EXPECT_EQ(c.receive(Duration::zero()).status(), Status::empty);
  open(held_up);
  ASSERT_EQ(v->publish(kBytes, kBound), Status::ok);
  auto m = c.receive(kBound);
  ASSERT_TRUE(m) << to_string(m.status());
  EXPECT_EQ(wrong_bytes(*m, kBytes, 5, 0), 0u);
  EXPECT_TRUE(finish(out));
}

// Its slot may be lent again as soon as the line is there: a write of the stream that came later would count for that.
TEST_P(CudaClientEndsAnyKind, PublishingIntoHostMemoryLeavesTheStreamNothingToDo) {
  START_OR_SKIP(GetParam(), 1);
  broker_->create("host", {.slots = 2, .size = kBytes, .backend = "host"});
  auto p = session_->producer("host", {.wait_for = kBound, .cuda = true});
  auto c = session_->consumer("host", {.wait_for = kBound});
  CUstream out = gpu_->stream();
  for (std::uint64_t n = 0; n < 50; ++n) {
    ASSERT_EQ(publish(p, out, n), Status::ok);
    EXPECT_TRUE(is_done(out)) << n;
    auto m = c.receive(kBound);
    ASSERT_TRUE(m) << to_string(m.status());
    EXPECT_EQ(wrong_bytes(*m, kBytes, n, 0), 0u);
  }
}

// To unpin and to unmap waits for every stream of the context; so that is left to when none waits.
TEST_P(CudaClientEndsAnyKind, ASessionEndsWhileAStreamOfAnotherWaits) {
  const Watchdog watchdog(kBound, [] { return "the end of a session waits for a stream\n"; });
  START_OR_SKIP(GetParam(), 2);
  auto c = consumer(true, "default", Until::forever);
  CUstream in = gpu_->stream();
  CUstream out = gpu_->stream();
  auto m = cuda::receive_ahead(c, in);
  ASSERT_TRUE(m) << to_string(m.status());
  const std::size_t before = mapped_segments();
  for (unsigned n = 0; n < 2; ++n) {  // the second one finds what the first one left
    Session other = connect({.broker = name_, .log = log()});
    auto p = other.producer("q", {.wait_for = kBound, .cuda = true});
    auto v = cuda::loan(p, out, kBound);
    ASSERT_TRUE(v) << to_string(v.status());
    EXPECT_GT(mapped_segments(), before);
  }
  EXPECT_FALSE(is_done(in));
  EXPECT_TRUE(finish(out));
  EXPECT_GT(mapped_segments(), before) << "unpinned while a stream waits";
  auto p = producer();
  ASSERT_EQ(publish(p, out, 0), Status::ok);
  EXPECT_TRUE(finish(in));
  EXPECT_TRUE(eventually([&] { return mapped_segments() <= before; })) << mapped_segments();
}

TEST_P(CudaClientEndsAnyKind, ASessionEndsWhileAStreamWaitsThatItDoesNotKnow) {
  const Watchdog watchdog(kBound, [] { return "the end of a session waits for a stream\n"; });
  START_OR_SKIP(GetParam(), 2);
  CUstream out = gpu_->stream();
  const std::size_t before = mapped_segments();
  {
    auto p = producer();
    ASSERT_EQ(publish(p, out, 0), Status::ok);
    ASSERT_TRUE(finish(out));
  }
  CUstream waits = gpu_->stream();
  std::uint32_t* const held_up = hold_up(waits);
  session_.reset();
  EXPECT_FALSE(is_done(waits));
  open(held_up);
  EXPECT_TRUE(finish(waits));
  EXPECT_TRUE(eventually([&] { return mapped_segments() <= before; })) << mapped_segments();
}

// What a stream may still write stays mapped, though its session has ended.
TEST_P(CudaClientEndsAnyKind, AStreamThatIsLateMayStillWriteAfterTheSession) {
  START_OR_SKIP(GetParam(), 2);
  CUstream out = gpu_->stream();
  std::uint32_t* const held_up = gate();
  {
    auto p = producer();
    wait_for(out, held_up);
    ASSERT_EQ(publish(p, out, 1), Status::ok);
  }  // its close waits for ten seconds
  session_.reset();
  open(held_up);
  EXPECT_TRUE(finish(out));
}

}  // namespace
}  // namespace ipcq_test
