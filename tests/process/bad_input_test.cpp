// What users and their machines get wrong: each a clear error that names object, cause and remedy, told apart from the
// others, and nothing left behind.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "process/bad_input.hpp"
#include "protocol/doorbell.hpp"
#include "queue/queue_map.hpp"

namespace ipcq_test {
namespace {

using testing::AllOf;
using testing::HasSubstr;

TEST_F(BadInput, ABrokerThatDoesNotRunIsNamed) {
  const auto text = error_of<NotFoundError>([&] { (void)connect({.broker = name_}); });
  EXPECT_THAT(text, AllOf(HasSubstr("'" + name_ + "'"), HasSubstr("none answers at"), HasSubstr("ipcq-broker")));
  const auto start = std::chrono::steady_clock::now();
  error_of<NotFoundError>([&] { (void)connect({.broker = name_, .wait_for = kMoment}); });
  EXPECT_GE(std::chrono::steady_clock::now() - start, kMoment);
  EXPECT_THAT(error_of<NotFoundError>([&] { (void)fetch_stats(name_); }), HasSubstr(name_));
  EXPECT_THAT(error_of<UsageError>([&] { (void)connect({.broker = "no such name"}); }), HasSubstr("'no such name'"));
}

TEST_F(BadInput, ABrokerThatComesLaterIsFound) {
  Peer& early = spawn("producer", {"id=1", "count=1"});
  std::this_thread::sleep_for(kMoment);
  EXPECT_FALSE(early.ended());
  spawn_broker();
  EXPECT_EQ(end_of(early), "exit 0");
}

TEST_F(BadInput, AnUnknownQueueIsRefusedWithTheKnownNames) {
  Broker& b = embed_broker();
  b.create("frames");
  auto s = connect({.broker = name_});
  const auto text = error_of<NotFoundError>([&] { (void)s.producer("farmes"); });
  EXPECT_THAT(text, AllOf(HasSubstr("'farmes'"), HasSubstr("it has frames")));
  error_of<NotFoundError>([&] { (void)s.consumer("farmes", {.wait_for = kMoment}); });
  EXPECT_THAT(error_of<NotFoundError>([&] { (void)fetch_dump("farmes", name_); }), HasSubstr("frames"));
  error_of<NotFoundError>([&] { end_of_stream("farmes", name_); });
  error_of<UsageError>([&] { (void)s.producer("far mes"); });
  error_of<UsageError>([&] { (void)s.consumer("frames", {.group = "a/b"}); });
}

TEST_F(BadInput, OptionsThatCannotWorkAreRefused) {
  Broker& b = embed_broker();
  const auto refused = [&](QueueOptions o) { return error_of<UsageError>([&] { b.create("q", std::move(o)); }); };
  EXPECT_THAT(refused({.handler = "uper"}), AllOf(HasSubstr("'uper'"), HasSubstr("upper")));
  EXPECT_THAT(refused({.slots = (1u << 20) + 1}), AllOf(HasSubstr("slots"), HasSubstr("1048576")));
  EXPECT_THAT(refused({.size = 0}), AllOf(HasSubstr("queue 'q'"), HasSubstr("size is 0")));
  EXPECT_THAT(refused({.size = std::size_t{5} << 30}), HasSubstr("queue 'q': size is 5368709120"));
  EXPECT_THAT(refused({.pool = "nope"}), HasSubstr("'nope'"));
  EXPECT_THAT(refused({.backend = "gpu"}), HasSubstr("'gpu'"));
  // Without a handler `auto` is host, to which these say nothing.
  EXPECT_THAT(refused({.device = 1}), AllOf(HasSubstr("device"), HasSubstr("backend cuda")));
  EXPECT_THAT(refused({.mirror = Mirror::none}), HasSubstr("mirror"));
  EXPECT_THAT(refused({.host_readable = false}), HasSubstr("host_readable"));
  EXPECT_THAT(refused({.executor = ExecutorKind::stream}), HasSubstr("executor"));
  EXPECT_THAT(error_of<UsageError>([&] { b.create_pool("p", {.device = 1}); }), HasSubstr("device"));
  EXPECT_THAT(refused({.threads = 2}), AllOf(HasSubstr("'q': threads"), HasSubstr("name a handler")));
  EXPECT_THAT(refused({.wait = Wait::spin()}), AllOf(HasSubstr("'q': wait"), HasSubstr("name a handler")));
  EXPECT_THAT(refused({.groups = {{"a"}, {"a"}}}), HasSubstr("'a' twice"));
  EXPECT_THAT(refused({.endpoints = 0}), HasSubstr("endpoints"));
  EXPECT_THAT(refused({.held = 4097}), HasSubstr("held"));
  EXPECT_THAT(error_of<UsageError>([&] { b.create("-q"); }), HasSubstr("'-q'"));
  ::setenv("IPCQ_RUNNER", "/nowhere/ipcq-runner", 1);
  const auto text = error_of<BackendError>([&] { b.create("q", {.backend = "cuda"}); });
  ::unsetenv("IPCQ_RUNNER");
  EXPECT_THAT(text, AllOf(HasSubstr("'q'"), HasSubstr("cuda"), HasSubstr("host")));
  EXPECT_THAT(text, AllOf(HasSubstr("IPCQ_RUNNER is '/nowhere/ipcq-runner'"), HasSubstr("No such file")));
  EXPECT_TRUE(b.stats().queues.empty());
  EXPECT_TRUE(segments().empty());
  b.create("q");  // the name is free
  EXPECT_THAT(error_of<UsageError>([&] { b.create("q"); }), HasSubstr("exists already"));
  const QueueOptions elsewhere{.pool = "q", .handler = "upper", .executor = ExecutorKind::stream};
  EXPECT_THAT(error_of<UsageError>([&] { b.create("r", elsewhere); }),
              AllOf(HasSubstr("executor"), HasSubstr("pool 'q'")));
}

TEST_F(BadInput, TheMemoryOfAQueueIsKnownBeforehand) {
  Broker& b = embed_broker();
  std::uint64_t sum = 0;
  const auto check = [&] { EXPECT_EQ(b.stats().shm_bytes, sum); };
  const PoolOptions pool{.slots = 700, .size = 5000};
  b.create_pool("p", pool);
  sum += memory_needs(pool).shared_memory;
  check();
  unsigned number = 0;
  for (const QueueOptions& o : {QueueOptions{}, QueueOptions{.slots = 0, .lines = 5000, .backend = "host"},
                                QueueOptions{.slots = 3, .size = 100, .handler = "upper", .backend = "host"},
                                QueueOptions{.endpoints = 3, .held = 7}}) {
    b.create("q" + std::to_string(number++), o);
    sum += memory_needs(o).shared_memory;
    check();
  }
  const QueueOptions shares{.pool = "p"};
  b.create("shares", shares);
  sum += memory_needs(shares, &pool).shared_memory;
  check();
  EXPECT_EQ(memory_needs(shares, &pool).device_memory + memory_needs(QueueOptions{}).device_memory, 0u);

  constexpr std::uint64_t kFrame = 24883200;  // a whole number of pages
  const auto on_gpu = [&](Mirror mirror, const char* handler) {
    return memory_needs(
        QueueOptions{.slots = 64, .size = kFrame, .handler = handler, .backend = "cuda", .mirror = mirror});
  };
  const MemoryNeeds bare = on_gpu(Mirror::none, "");
  const MemoryNeeds mirrored = on_gpu(Mirror::full, "");
  EXPECT_EQ(bare.device_memory, 1593835520u);  // 760 blocks of 2 MiB
  EXPECT_LT(bare.shared_memory, kFrame);
  EXPECT_LT(bare.pinned, bare.shared_memory);
  EXPECT_EQ(mirrored.device_memory, bare.device_memory);
  EXPECT_GT(mirrored.pinned, 64 * kFrame);
  EXPECT_GT(mirrored.shared_memory, mirrored.pinned);
  EXPECT_EQ(on_gpu(Mirror::full, "upper").pinned, mirrored.pinned);  // both have an executor
  EXPECT_THROW((void)memory_needs(QueueOptions{.size = 0}), UsageError);
}

// Its end of the socket must not be held open by the broker itself, or the broker would wait for a minute.
TEST_F(BadInput, ARunnerThatEndsAtItsStartIsSaidAtOnce) {
  Broker& b = embed_broker();
  ::setenv("IPCQ_RUNNER", "/bin/false", 1);
  const auto before = std::chrono::steady_clock::now();
  const auto text = error_of<BackendError>([&] { b.create("q", {.backend = "cuda"}); });
  ::unsetenv("IPCQ_RUNNER");
  EXPECT_THAT(text, AllOf(HasSubstr("'q'"), HasSubstr("ended at its start"), HasSubstr("/bin/false")));
  EXPECT_LT(std::chrono::steady_clock::now() - before, std::chrono::seconds(30));
  EXPECT_TRUE(segments().empty());
}

TEST_F(BadInput, AnotherUserIsRefused) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root, to become another user";
  // Where others may look: the run directory of a test is this user's alone.
  ASSERT_EQ(chmod(directory_.c_str(), 0755), 0);
  const std::string socket = directory_ + "/socket";
  const Broker b(BrokerOptions{.name = socket});
  struct stat st {};
  ASSERT_EQ(stat(socket.c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0600u);
  Peer& stranger = peers_.emplace_back("stranger", std::vector<std::string>{"broker=" + socket}, "",
                                       directory_ + "/s.records", directory_ + "/s.output");
  const std::string end = end_of(stranger);
  const std::string said = stranger.output();
  if (end == "exit 126" || end == "exit 127" || end == "exit 2") GTEST_SKIP() << "cannot become another user: " << said;
  EXPECT_EQ(end, "exit 54") << said;  // PermissionError
  EXPECT_THAT(said, AllOf(HasSubstr(socket), HasSubstr("Permission denied"), HasSubstr("--unix-group")));
}

TEST_F(BadInput, SegmentsAreForTheirUserAlone) {
  embed_broker().create("q");
  for (const auto& s : segments()) {
    struct stat st {};
    ASSERT_EQ(stat(("/dev/shm/" + s).c_str(), &st), 0);
    EXPECT_EQ(st.st_mode & 0777, 0600u) << s;
  }
}

TEST_F(BadInput, MoreThanSharedMemoryHoldsIsRefusedAtCreation) {
  struct statvfs fs {};
  ASSERT_EQ(statvfs("/dev/shm", &fs), 0);
  const std::uint64_t total = std::uint64_t{fs.f_blocks} * fs.f_frsize;
  if (total == 0) GTEST_SKIP() << "/dev/shm has no limit here";
  Broker& b = embed_broker();
  constexpr std::size_t kSlotBytes = 1u << 30;
  const auto slots = static_cast<std::uint32_t>(total / kSlotBytes + 2);
  std::string text;
  try {
    b.create("big", {.slots = slots, .size = kSlotBytes});
    ADD_FAILURE() << "created";
  } catch (const SystemError& e) {
    EXPECT_EQ(e.code(), ENOSPC);
    text = e.what();
  }
  EXPECT_THAT(text, AllOf(HasSubstr("big"), HasSubstr("GiB are needed"), HasSubstr("are free in /dev/shm"),
                          HasSubstr("--shm-size")));
  EXPECT_TRUE(segments().empty());
  b.create("big", {.slots = 1, .size = 256});  // the name is free
}

// Likewise when there is some room, but not enough: a file system of 1 MiB in a mount namespace of its own.
TEST_F(BadInput, ASmallSharedMemoryIsToldWithoutABusError) {
  Peer& small = spawn("small_shm", {});
  const std::string end = end_of(small);
  const std::string said = small.output();
  if (end == "exit 77") GTEST_SKIP() << "no mount namespace for this user";
  EXPECT_EQ(end, "exit 56") << said;  // SystemError with ENOSPC
  EXPECT_THAT(said, AllOf(HasSubstr("MiB are needed"), HasSubstr("of 1.0 MiB are free"), HasSubstr("--shm-size")));
  EXPECT_THAT(said, testing::Not(testing::ContainsRegex("(^|\n)ipcq"))) << "left behind";
}

}  // namespace
}  // namespace ipcq_test
